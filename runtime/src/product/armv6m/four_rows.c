/* Sums of one row of values with four rows of weights, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r0, r1, r2, r6, r7    behind the end of the values and of each row      r3    less those that are left
 *     r8..r11    sums       r12    the offset        r4    a value        r5    a weight, then a product */
#include "../four_rows.h"

#if KT_ARMV6M

#include "four_sums.h"

#define KT_TERM(row, sum) "ldrsb r5, [" row ", r3]\n\t" "muls r5, r4\n\t" "add " sum ", r5\n\t"

__attribute__((naked)) void kt_sums_of_four_rows(const int8_t *x __attribute__((unused)), const int8_t *const rows[4] __attribute__((unused)),
                                             int32_t length __attribute__((unused)), int32_t offset __attribute__((unused)),
                                             int32_t sums[4] __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     KT_SAVE_HIGH
                     "mov r12, r3\n\t"
                     "ldr r3, " KT_FIFTH "\n\t"
                     "ldmia r3!, {r4-r7}\n\t"
                     KT_START_SUMS
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
                     KT_STORE_SUMS(KT_FIFTH));
}

#endif
