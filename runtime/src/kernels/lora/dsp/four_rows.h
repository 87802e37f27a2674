/* four_rows.h: products of a vector of int8 with four rows of weights that are kept as pairs of int16. */
#ifndef KT_FOUR_ROWS_H
#define KT_FOUR_ROWS_H

#include "../../dsp/simd.h"

enum { KT_ROWS = 4, KT_MOST_VALUES = 144 }; /* values of a row that a packed block on the stack has room for: 3x3 windows of 16 channels */

/* A block: for each four values the rows one after the other, {even, odd} values. */
enum { KT_BLOCK_WORDS = 2 * KT_MOST_VALUES };

/* `count` rows of `length` values, their first ones at w, from row to row and from value to value so far apart; rows beyond are 0. */
static inline void kt_pack_rows(const int8_t *w, int32_t count, int32_t length, int32_t row_step, int32_t step, uint32_t *words)
{
    int32_t at, j, i;
    for (at = 0; at < length; at += 4) {
        for (j = 0; j < KT_ROWS; j++, words += 2) {
            int32_t values[4] = {0, 0, 0, 0};
            for (i = 0; j < count && i < kt_minimum(length - at, 4); i++) {
                values[i] = w[j * row_step + (at + i) * step];
            }
            words[0] = kt_low_halves((uint32_t)values[0], (uint32_t)values[2]);
            words[1] = kt_low_halves((uint32_t)values[1], (uint32_t)values[3]);
        }
    }
}

#ifndef __OPTIMIZE__
/* sums[j] = start[j] + row j . x, where registers are too few for the assembly below. */
static inline void kt_sum_rows(const int8_t *x, int32_t length, const uint32_t *words, const int32_t start[KT_ROWS], int32_t sums[KT_ROWS])
{
    int32_t at, j;
    for (j = 0; j < KT_ROWS; j++) {
        sums[j] = start[j];
    }
    for (at = 0; at < length; at += 4) {
        uint32_t four = 0;
        memcpy(&four, x + at, (size_t)kt_minimum(length - at, 4));
        for (j = 0; j < KT_ROWS; j++, words += 2) {
            sums[j] = kt_add_products(words[1], kt_odd(four), kt_add_products(words[0], kt_even(four), sums[j]));
        }
    }
}
#else
/* Adds four values' products to four sums. Assembly, because gcc loads all eight words at once and spills them. */
#define KT_ADD_FOUR_VALUES \
    "sxtb16 %[even], %[first]\n\t" \
    "sxtb16 %[odd], %[first], ror #8\n\t" \
    "ldrd %[first], %[second], [%[words]], #8\n\t" \
    "smlad %[sum0], %[first], %[even], %[sum0]\n\t" \
    "smlad %[sum0], %[second], %[odd], %[sum0]\n\t" \
    "ldrd %[first], %[second], [%[words]], #8\n\t" \
    "smlad %[sum1], %[first], %[even], %[sum1]\n\t" \
    "smlad %[sum1], %[second], %[odd], %[sum1]\n\t" \
    "ldrd %[first], %[second], [%[words]], #8\n\t" \
    "smlad %[sum2], %[first], %[even], %[sum2]\n\t" \
    "smlad %[sum2], %[second], %[odd], %[sum2]\n\t" \
    "ldrd %[first], %[second], [%[words]], #8\n\t" \
    "smlad %[sum3], %[first], %[even], %[sum3]\n\t" \
    "smlad %[sum3], %[second], %[odd], %[sum3]\n\t"

#define KT_OF_FOUR_VALUES \
    [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3), [words] "+r"(words), [even] "=&r"(even), [odd] "=&r"(odd), \
        [second] "=&r"(second)

/* sums[j] = start[j] + row j . x */
static inline void kt_sum_rows(const int8_t *x, int32_t length, const uint32_t *words, const int32_t start[KT_ROWS], int32_t sums[KT_ROWS])
{
    int32_t sum0 = start[0], sum1 = start[1], sum2 = start[2], sum3 = start[3];
    const uint32_t *const end = words + 2 * (length & -4);
    uint32_t even, odd, first, second;
    if (words != end) {
        __asm__("1:\n\t"
                "ldr %[first], [%[x]], #4\n\t" KT_ADD_FOUR_VALUES
                "cmp %[words], %[end]\n\t"
                "bne 1b\n\t"
                : KT_OF_FOUR_VALUES, [x] "+r"(x), [first] "=&r"(first)
                : [end] "r"(end)
                : "cc", "memory");
    }
    if (length % 4 != 0) {
        first = 0;
        memcpy(&first, x, (size_t)(length % 4));
        __asm__(KT_ADD_FOUR_VALUES : KT_OF_FOUR_VALUES, [first] "+r"(first) : : "memory");
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

#endif
