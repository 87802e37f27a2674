/* Sums of one row of values with four rows of weights, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r0, r1, r2, r6, r7    behind the end of the values and of each row      r3    less those that are left
 *     r8..r11    sums       r12    the offset        r4    a value        r5    a weight, then a product */
#include "../four_rows.h"

#if KT_ARMV6M

#define KT_TERM(row, sum) "ldrsb r5, [" row ", r3]\n\t" "muls r5, r4\n\t" "add " sum ", r5\n\t"

__attribute__((naked)) void kt_sums_of_four_rows(const int8_t *x __attribute__((unused)), const int8_t *const rows[4] __attribute__((unused)),
                                             int32_t length __attribute__((unused)), int32_t offset __attribute__((unused)),
                                             int32_t sums[4] __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r4-r7}\n\t"
                     "mov r12, r3\n\t"
                     "ldr r3, [sp, #36]\n\t"
                     "ldmia r3!, {r4-r7}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "ldmia r1!, {r4-r7}\n\t"
                     "adds r0, r0, r2\n\t" "adds r1, r4, r2\n\t" "adds r6, r6, r2\n\t" "adds r7, r7, r2\n\t"
                     "rsbs r3, r2, #0\n\t"
                     "adds r2, r5, r2\n\t"
                     "1:\n\t"
                     "ldrsb r4, [r0, r3]\n\t"
                     "add r4, r12\n\t"
                     KT_TERM("r1", "r8") KT_TERM("r2", "r9") KT_TERM("r6", "r10") KT_TERM("r7", "r11")
                     "adds r3, #1\n\t"
                     "bne 1b\n\t"
                     "ldr r4, [sp, #36]\n\t"
                     "mov r0, r8\n\t" "mov r1, r9\n\t" "mov r2, r10\n\t" "mov r3, r11\n\t"
                     "stmia r4!, {r0-r3}\n\t"
                     "pop {r4-r7}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "pop {r4-r7, pc}\n\t");
}

#endif
