/* Products with four rows of weights in three words, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r0, r1   weights, end of the values     r3..r5    words, then products      r8..r10   sums
 *     r2       minus how many are left        r6        a value                   r12       where sums belong */
#include "../projection.h"

#if KT_ARMV6M

__attribute__((naked)) void kt_projection_words(uint32_t *words __attribute__((unused)), const int8_t *x __attribute__((unused)),
                                                int32_t step __attribute__((unused)), const uint32_t *weights __attribute__((unused)),
                                                int32_t length __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t"
                     "push {r4-r6}\n\t"
                     "mov r12, r0\n\t"
                     "ldr r2, [sp, #32]\n\t"
                     "adds r1, r1, r2\n\t"
                     "rsbs r2, r2, #0\n\t"
                     "movs r0, r3\n\t"
                     "movs r3, #0\n\t"
                     "mov r8, r3\n\t" "mov r9, r3\n\t" "mov r10, r3\n\t"
                     "1:\n\t"
                     ".rept 4\n\t"
                     "ldmia r0!, {r3-r5}\n\t"
                     "ldrsb r6, [r1, r2]\n\t"
                     "muls r3, r6\n\t" "muls r4, r6\n\t" "muls r5, r6\n\t"
                     "add r8, r3\n\t" "add r9, r4\n\t" "add r10, r5\n\t"
                     "adds r2, #1\n\t"
                     ".endr\n\t"
                     "bne 1b\n\t"
                     "mov r0, r12\n\t"
                     "mov r3, r8\n\t" "mov r4, r9\n\t" "mov r5, r10\n\t"
                     "stmia r0!, {r3-r5}\n\t"
                     "pop {r4-r6}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t"
                     "pop {r4-r7, pc}\n\t");
}

#endif
