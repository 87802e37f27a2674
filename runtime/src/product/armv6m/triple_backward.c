/* Back through the weights of three sums in two words, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r8..r11   sums of a value, four positions      r1, r2    panel, weights
 *     r3..r6    gradients, then products             r7, r12   end of the panel, step
 *     r0        a weight */
#include "../triple_backward.h"

#if KT_ARMV6M

#define KT_CHANNEL(place) \
    "ldmia r1!, {r3-r6}\n\t" \
    "ldrb r0, [r2, #" place "]\n\t" \
    "muls r3, r0\n\t" "muls r4, r0\n\t" "muls r5, r0\n\t" "muls r6, r0\n\t" \
    "add r8, r3\n\t" "add r9, r4\n\t" "add r10, r5\n\t" "add r11, r6\n\t"

/* From sp on: sums, end, panel, weights, step, end of the panel. */
__attribute__((naked)) void kt_triple_back(const kt_triple_backward *product __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r4-r7}\n\t"
                     "sub sp, #24\n\t"
                     "ldmia r0!, {r1-r6}\n\t"
                     "mov r7, sp\n\t"
                     "stmia r7!, {r1-r6}\n\t"
                     "mov r12, r5\n\t"
                     "mov r7, r6\n\t"
                     "2:\n\t"
                     "ldr r1, [sp]\n\t"
                     "ldmia r1!, {r3-r6}\n\t"
                     "mov r8, r3\n\t" "mov r9, r4\n\t" "mov r10, r5\n\t" "mov r11, r6\n\t"
                     "ldr r1, [sp, #8]\n\t"
                     "ldr r2, [sp, #12]\n\t"
                     "1:\n\t" KT_CHANNEL("0") KT_CHANNEL("1")
                     "add r2, r12\n\t"
                     "cmp r1, r7\n\t"
                     "bne 1b\n\t"
                     "ldr r1, [sp]\n\t"
                     "mov r3, r8\n\t" "mov r4, r9\n\t" "mov r5, r10\n\t" "mov r6, r11\n\t"
                     "stmia r1!, {r3-r6}\n\t"
                     "str r1, [sp]\n\t"
                     "ldr r2, [sp, #12]\n\t"
                     "adds r2, #2\n\t"
                     "str r2, [sp, #12]\n\t"
                     "ldr r3, [sp, #4]\n\t"
                     "cmp r1, r3\n\t"
                     "bne 2b\n\t"
                     "add sp, #24\n\t"
                     "pop {r4-r7}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "pop {r4-r7, pc}\n\t");
}

#endif
