/* four_row_sums.h: products of a vector of int8 with four rows of int8, which lie anywhere. */
#ifndef KT_FOUR_ROW_SUMS_H
#define KT_FOUR_ROW_SUMS_H

#include <stddef.h>

#include "../../product/dsp/text.h"
#include "simd.h"

/* In the order in which they come into registers. end: of x in whole fours; added: to its values, in both halves. */
typedef struct {
    const int8_t *x, *rows[4];
    int32_t sums[4];
    const int8_t *end;
    uint32_t added;
} kt_row_sums;

/* Four values of one row. */
#define KT_ADD_FOUR_OF_ROW(row, sum) \
    "ldr lr, [" row "], #4\n\t" \
    "sxtb16 r12, lr\n\t" \
    "sxtb16 lr, lr, ror #8\n\t" \
    "smlad " sum ", r12, r10, " sum "\n\t" \
    "smlad " sum ", lr, r11, " sum "\n\t"

/* Whole fours, at least one: in assembly, since gcc keeps the rows in memory. */
static KT_NAKED __attribute__((noinline)) void kt_add_fours_of_rows(kt_row_sums *state)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldr r1, [r0, %[added]]\n\t"
                     "push {r0, r1}\n\t"
                     "ldr r10, [r0, %[end]]\n\t"
                     "ldm r0, {r1-r9}\n\t" /* x, rows, sums */
                     "mov r0, r10\n\t"
                     "1:\n\t"
                     "ldr r10, [r1], #4\n\t"
                     "ldr r12, [sp, #4]\n\t"
                     "sxtb16 r11, r10, ror #8\n\t"
                     "sxtb16 r10, r10\n\t"
                     "sadd16 r11, r11, r12\n\t"
                     "sadd16 r10, r10, r12\n\t"
                     KT_ADD_FOUR_OF_ROW("r2", "r6") KT_ADD_FOUR_OF_ROW("r3", "r7") KT_ADD_FOUR_OF_ROW("r4", "r8") KT_ADD_FOUR_OF_ROW("r5", "r9")
                     "cmp r1, r0\n\t"
                     "bne 1b\n\t"
                     "pop {r0, r10}\n\t"
                     "stm r0, {r1-r9}\n\t"
                     "pop {r4-r11, pc}\n\t"
                     :
                     : [end] "i"(offsetof(kt_row_sums, end)), [added] "i"(offsetof(kt_row_sums, added)));
}

/* sums[i] += sum_j rows[i][j] * (x[j] + offset), j in [0, length). */
static __attribute__((noinline)) void kt_four_row_sums(const int8_t *x, const int8_t *const rows[4], int32_t length, int32_t offset,
                                                       int32_t sums[4])
{
    kt_row_sums state = {x, {rows[0], rows[1], rows[2], rows[3]}, {0, 0, 0, 0}, x + (length & -4), (uint16_t)offset * UINT32_C(0x00010001)};
    int32_t left, i;
    if (length >= 4) {
        kt_add_fours_of_rows(&state);
    }
    for (left = length & 3; left > 0; left--) {
        const int32_t value = *state.x++ + offset;
        for (i = 0; i < 4; i++) {
            state.sums[i] += *state.rows[i]++ * value;
        }
    }
    for (i = 0; i < 4; i++) {
        sums[i] += state.sums[i];
    }
}

#endif
