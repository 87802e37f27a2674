/* Sums of 3x3 windows, three result rows in two words, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r1, r2   plane, words of the results          r6, r7    steps to the next kernel column, and to the next result
 *     r3       weights                              r8, r9    words of a result
 *     r0       a weight                             r10       end of the results' words
 *     r4, r5   words of the plane */
#include "../triple_rows.h"

#if KT_ARMV6M

#define KT_TAP(i) \
    "ldmia r1!, {r4, r5}\n\t" "ldr r0, [r3, #4*" i "]\n\t" "muls r4, r0\n\t" "muls r5, r0\n\t" "add r8, r4\n\t" "add r9, r5\n\t"
#define KT_FIRST_TAP \
    "ldmia r1!, {r4, r5}\n\t" "ldr r0, [r3]\n\t" "muls r4, r0\n\t" "muls r5, r0\n\t" "mov r8, r4\n\t" "mov r9, r5\n\t"

__attribute__((naked)) void kt_triple_row_words(const kt_triple_windows_of_rows *rows __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t"
                     "push {r4-r6}\n\t"
                     "ldmia r0!, {r2, r4}\n\t"
                     "mov r10, r4\n\t"
                     "ldmia r0!, {r1, r3, r6, r7}\n\t"
                     "1:\n\t"
                     KT_FIRST_TAP KT_TAP("1") KT_TAP("2")
                     "adds r1, r1, r6\n\t"
                     KT_TAP("3") KT_TAP("4") KT_TAP("5")
                     "adds r1, r1, r6\n\t"
                     KT_TAP("6") KT_TAP("7") KT_TAP("8")
                     "subs r1, r1, r7\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t"
                     "stmia r2!, {r4, r5}\n\t"
                     "cmp r2, r10\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r6}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t"
                     "pop {r4-r7, pc}\n\t");
}

/*     r0, r3   words of a kernel column, weights       r4, r5   words, then products       r8, r9    sums
 *     r1       a weight                                r6, r7   columns and pairs left     r12, lr   next, pairs */
#define KT_NEXT_TAP \
    "ldmia r0!, {r4, r5}\n\t" "ldmia r3!, {r1}\n\t" "muls r4, r1\n\t" "muls r5, r1\n\t" "add r8, r4\n\t" "add r9, r5\n\t"

__attribute__((naked)) void kt_triple_window_words(uint32_t *words __attribute__((unused)), const kt_triple_taps *taps __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r0, r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t"
                     "push {r4, r5}\n\t"
                     "ldmia r1!, {r2-r6}\n\t"
                     "lsrs r6, r6, #1\n\t"
                     "mov r12, r4\n\t" "mov lr, r6\n\t"
                     "movs r6, r5\n\t"
                     "movs r0, #0\n\t" "mov r8, r0\n\t" "mov r9, r0\n\t"
                     "1:\n\t"
                     "movs r0, r2\n\t"
                     "add r2, r12\n\t"
                     "mov r7, lr\n\t"
                     KT_NEXT_TAP
                     "2:\n\t" KT_NEXT_TAP KT_NEXT_TAP
                     "subs r7, #1\n\t"
                     "bne 2b\n\t"
                     "subs r6, #1\n\t"
                     "bne 1b\n\t"
                     "ldr r0, [sp, #8]\n\t"
                     "mov r1, r8\n\t" "mov r2, r9\n\t"
                     "stmia r0!, {r1, r2}\n\t"
                     "pop {r4, r5}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t"
                     "pop {r0, r4-r7, pc}\n\t");
}

#endif
