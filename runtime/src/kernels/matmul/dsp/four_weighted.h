/* four_weighted.h: kt_add_four_weighted of ../weighted_sums.h with the DSP extension. */
#ifndef KT_DSP_FOUR_WEIGHTED_H
#define KT_DSP_FOUR_WEIGHTED_H

#include "../../dsp/simd.h"

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

/* Weights with their offset are halves of words: a row takes the one that is its own. */
KT_ROW_PART void kt_add_four_weighted(const int8_t *row, int32_t step, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t *sums)
{
    const uint32_t added = kt_low_halves((uint32_t)weight_offset, (uint32_t)weight_offset);
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
        const int32_t weight = *weights++ + weight_offset;
        int32_t low, high;
        KT_FOUR_WEIGHTED(__smlabb, __smlatb, weight);
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

#endif
