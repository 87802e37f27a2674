/* attention_row.h: parts of a row of attention (../attention_row.h, ../attention_slopes.h) with the DSP extension. A value is requantised as in
 * ../../elementwise/dsp/sum.h. */
#ifndef KT_DSP_ATTENTION_ROW_H
#define KT_DSP_ATTENTION_ROW_H

#include "../../dsp/simd.h"

enum { KT_ROW_PIECE = 32, KT_LARGEST_RIGHT = 22 };

/* Codes of `count` sums below 2^30 in size: kt_clamp_with_offset of kt_requantize_right; multiplier not negative, right in [1, 31]. */
static inline void kt_codes_of_sums(const int32_t *sums, int32_t count, int32_t multiplier, int32_t right, int32_t offset, int8_t *codes)
{
    const int32_t half = right <= KT_LARGEST_RIGHT ? (INT32_C(1) << (right - 1)) + offset * (INT32_C(1) << right) : 0;
    int32_t c = 0;
    for (; c < count && right <= KT_LARGEST_RIGHT; c++) {
        codes[c] = (int8_t)__ssat((kt_add_high_product(2 * sums[c], multiplier, half) + (sums[c] >> 31)) >> right, 8);
    }
    for (; c < count; c++) {
        codes[c] = kt_clamp_with_offset(kt_requantize_right(sums[c], multiplier, right), offset, -128, 127);
    }
}

/* Probabilities, less 128, of `count` codes, which may lie in the same place. table: of -128. */
static inline void kt_probabilities_of_codes(const int8_t *table, const int32_t *exponentials, int32_t largest, int32_t scale, int32_t shift,
                                             const int8_t *codes, int32_t count, int8_t *probabilities)
{
    const int32_t *const of_largest = exponentials + largest;
    const uint32_t half = shift <= 31 ? UINT32_C(1) << (shift - 1) : 0;
    int32_t c;
    table += 128;
    for (c = 0; c < count; c++) {
        const uint64_t product = (uint64_t)(uint32_t)scale * (uint32_t)of_largest[-table[codes[c]]] + (UINT32_C(1) << 30);
        const uint32_t parts = shift <= 31 ? ((uint32_t)(product >> 31) + half) >> shift : 0;
        probabilities[c] = (int8_t)((int32_t)(parts > 255 ? 255 : parts) - 128);
    }
}

/* saturate8(shift_round(sums)) */
static inline void kt_round_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row)
{
    const int in_range = shift >= 1 && shift <= 31;
    int32_t c;
    for (c = 0; c < count; c++) {
        row[c] = in_range ? kt_rounded8(sums[c], shift) : kt_saturate8(kt_shift_round(sums[c], shift));
    }
}

/* The sums over `count` of (p + 128) g, and of p + 128. */
static inline void kt_mean_sums(const int8_t *p, const int8_t *g, int32_t count, int32_t sums[2])
{
    int32_t products = 0, c;
    uint32_t parts = 0;
    for (c = 0; c + 4 <= count; c += 4) {
        const uint32_t part = kt_load_word(p + c) ^ UINT32_C(0x80808080), word = kt_load_word(g + c);
        products = kt_add_products(__uxtb16(part), kt_even(word), products);
        products = kt_add_products(__uxtb16(__ror(part, 8)), kt_odd(word), products);
        parts = __usada8(part, 0, parts);
    }
    for (; c < count; c++) {
        products += (p[c] + 128) * g[c];
        parts += (uint32_t)(p[c] + 128);
    }
    sums[0] = products;
    sums[1] = (int32_t)parts;
}

/* softmax_slope of `count` gradients, in their place. p: less 128. */
static inline void kt_softmax_slopes(const int8_t *p, int32_t mean, int32_t shift, int32_t count, int8_t *g)
{
    const int in_range = shift >= 1 && shift <= 31;
    int32_t c;
    for (c = 0; c < count; c++) {
        const int32_t product = (p[c] + 128) * (256 * g[c] - mean);
        g[c] = in_range ? kt_rounded8(product, shift) : kt_saturate8(kt_shift_round(product, shift));
    }
}

/* sums[c] += weight (row[c] + offset), c < count; the weight is an int16, and so is a value with its offset. */
static inline void kt_add_row(int32_t *sums, int32_t weight, const int8_t *row, int32_t offset, int32_t count)
{
    const uint32_t added = kt_low_halves((uint32_t)offset, (uint32_t)offset);
    int32_t c;
    for (c = 0; c + 4 <= count; c += 4, sums += 4) {
        const uint32_t word = kt_load_word(row + c);
        const int32_t even = (int32_t)kt_add_even(added, word), odd = (int32_t)kt_add_odd(added, word);
        sums[0] = __smlabb(even, weight, sums[0]);
        sums[1] = __smlabb(odd, weight, sums[1]);
        sums[2] = __smlatb(even, weight, sums[2]);
        sums[3] = __smlatb(odd, weight, sums[3]);
    }
    for (; c < count; c++) {
        *sums++ += weight * (row[c] + offset);
    }
}

#endif
