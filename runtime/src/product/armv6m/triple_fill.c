/* The words of a panel, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r0         words                 r1..r3   behind the values of the three positions
 *     r8, r9     their sums            r4       minus how many values are left
 *     r5..r7     values, then words */
#include "../triple_panel.h"

#if KT_ARMV6M

__attribute__((naked)) void kt_fill_three(uint32_t *word __attribute__((unused)), const int8_t *a __attribute__((unused)),
                                          const int8_t *b __attribute__((unused)), const int8_t *c __attribute__((unused)),
                                          int32_t count __attribute__((unused)), uint32_t sums[2] __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t"
                     "push {r4, r5}\n\t"
                     "ldr r4, [sp, #28]\n\t"
                     "cmp r4, #0\n\t"
                     "beq 2f\n\t"
                     "ldr r5, [sp, #32]\n\t"
                     "ldmia r5!, {r6, r7}\n\t"
                     "mov r8, r6\n\t" "mov r9, r7\n\t"
                     "adds r1, r1, r4\n\t" "adds r2, r2, r4\n\t" "adds r3, r3, r4\n\t"
                     "rsbs r4, r4, #0\n\t"
                     "1:\n\t"
                     "ldrsb r7, [r2, r4]\n\t"
                     "lsls r5, r7, #10\n\t"
                     "ldrsb r6, [r1, r4]\n\t"
                     "adds r5, r5, r6\n\t"
                     "lsls r6, r7, #21\n\t"
                     "ldrsb r7, [r3, r4]\n\t"
                     "adds r6, r6, r7\n\t"
                     "stmia r0!, {r5, r6}\n\t"
                     "add r8, r5\n\t" "add r9, r6\n\t"
                     "adds r0, #8\n\t"
                     "adds r4, #1\n\t"
                     "bne 1b\n\t"
                     "ldr r5, [sp, #32]\n\t"
                     "mov r6, r8\n\t" "mov r7, r9\n\t"
                     "stmia r5!, {r6, r7}\n\t"
                     "2:\n\t"
                     "pop {r4, r5}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t"
                     "pop {r4-r7, pc}\n\t");
}

#endif
