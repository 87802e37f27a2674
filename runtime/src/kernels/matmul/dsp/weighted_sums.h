/* weighted_sums.h: the sum of rows, each times a weight, four values at once where those of a row lie side by side. */
#ifndef KT_DSP_WEIGHTED_SUMS_H
#define KT_DSP_WEIGHTED_SUMS_H

#include "../../dsp/simd.h"
#include "../weighted_sums.h"

/* The next row, whose values meet the half of a word that the two products name. The assembly says nothing: it keeps the compiler from one pointer a
 * row, for which it has no registers. */
#define KT_FOUR_WEIGHTED(low_product, high_product, weight) \
    high = (int32_t)kt_load_word(row); \
    low = (int32_t)kt_even((uint32_t)high); \
    high = (int32_t)kt_odd((uint32_t)high); \
    row += step; \
    __asm__("" : "+r"(row)); \
    s0 = low_product(low, weight, s0); \
    s1 = low_product(high, weight, s1); \
    s2 = high_product(low, weight, s2); \
    s3 = high_product(high, weight, s3)

/* sums of four values of `count` rows. Weights with their offset are halves of words: a row takes the one that is its own. */
static __attribute__((noinline, unused)) void kt_four_weighted_sums(const int8_t *row, int32_t step, const int8_t *weights, uint32_t added,
                                                                    int32_t count, int32_t *sums)
{
    const int8_t *const end = weights + (count & ~3);
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    while (weights < end) {
        const uint32_t word = kt_load_word(weights);
        const int32_t even = (int32_t)kt_add_even(added, word), odd = (int32_t)kt_add_odd(added, word);
        int32_t low, high;
        weights += 4;
        KT_FOUR_WEIGHTED(__smlabb, __smlatb, even);
        KT_FOUR_WEIGHTED(__smlabb, __smlatb, odd);
        KT_FOUR_WEIGHTED(__smlabt, __smlatt, even);
        KT_FOUR_WEIGHTED(__smlabt, __smlatt, odd);
    }
    for (count &= 3; count > 0; count--) {
        const int32_t weight = *weights++ + (int16_t)added;
        int32_t low, high;
        KT_FOUR_WEIGHTED(__smlabb, __smlatb, weight);
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* Four values of each row, where there are as many; sum w (x + o) = sum w x + o sum w, modulo 2^32 on the way and exact at the end. */
static inline void weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const uint32_t added = kt_low_halves((uint32_t)weight_offset, (uint32_t)weight_offset);
    const int32_t step = rows->step[0];
    int32_t total = 0;
    int32_t c, j;
    if (rows->step[1] != 1) {
        kt_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
    for (j = 0; j < count && rows->offset != 0; j++) {
        total += weights[j] + weight_offset;
    }
    total = (int32_t)((uint32_t)total * (uint32_t)rows->offset);
    for (c = 0; c + 4 <= channels; c += 4) {
        sums[c] = sums[c + 1] = sums[c + 2] = sums[c + 3] = total;
        kt_four_weighted_sums(rows->values + c, step, weights, added, count, sums + c);
    }
    if (c < channels) {
        const kt_rows rest = {rows->values + c, {step, 1}, rows->offset};
        kt_weighted_sums(&rest, weights, weight_offset, count, channels - c, sums + c);
    }
}

#endif
