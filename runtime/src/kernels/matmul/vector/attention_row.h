/* attention_row.h: parts of a row of attention (../attention_row.h, ../attention_slopes.h) in vectors. What is made one after the other lies in a
 * piece of memory first: it must have reached the cache before vectors read it. */
#ifndef KT_VECTOR_ATTENTION_ROW_H
#define KT_VECTOR_ATTENTION_ROW_H

#include "../../../product/vector/words.h"

enum { KT_ROW_PIECE = 32 };

/* Codes of `count` sums: kt_clamp_with_offset of kt_requantize_right; multiplier not negative, right in [1, 31]. */
static inline void kt_codes_of_sums(const int32_t *sums, int32_t count, int32_t multiplier, int32_t right, int32_t offset, int8_t *codes)
{
    const kt_lanes low = kt_splat(-128 - offset), high = kt_splat(127 - offset);
    int32_t c;
    for (c = 0; c + KT_LANES <= count; c += KT_LANES) {
        const kt_lanes scaled = kt_divide_lanes(kt_high_multiply_lanes(kt_load_lanes(sums + c), kt_splat(multiplier)), kt_splat(right));
        kt_store_narrow(codes + c, kt_add_lanes(kt_clamp_lanes(scaled, low, high), kt_splat(offset)));
    }
    for (; c < count; c++) {
        codes[c] = kt_clamp_with_offset(kt_requantize_right(sums[c], multiplier, right), offset, -128, 127);
    }
}

/* Probabilities, less 128, of `count` exponentials that are not negative; shift in [1, 31]. */
static inline void kt_probabilities_of(const int32_t *exponentials, int32_t count, int32_t scale, int32_t shift, int8_t *probabilities)
{
    typedef uint32_t unsigned_lanes __attribute__((vector_size(4 * KT_LANES)));
    const uint32_t half = UINT32_C(1) << (shift - 1);
    int32_t c;
    for (c = 0; c + KT_LANES <= count; c += KT_LANES) {
        const unsigned_lanes product = (unsigned_lanes)kt_high_multiply_lanes(kt_load_lanes(exponentials + c), kt_splat(scale));
        const kt_word_lanes parts = (kt_word_lanes)((product + half) >> shift);
        kt_store_narrow(probabilities + c, kt_add_lanes(kt_clamp_lanes((kt_lanes)parts, kt_no_lanes(), kt_splat(255)), kt_splat(-128)));
    }
    for (; c < count; c++) {
        const uint32_t product = (uint32_t)(((int64_t)scale * exponentials[c] + (INT64_C(1) << 30)) >> 31);
        probabilities[c] = (int8_t)(kt_minimum((int32_t)((product + half) >> shift), 255) - 128);
    }
}

/* saturate8(shift_round(sums)) */
static inline void kt_round_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row)
{
    int32_t c = 0;
    for (; shift >= 1 && shift <= 31 && c + KT_LANES <= count; c += KT_LANES) {
        kt_store_narrow(row + c, kt_round_lanes((kt_word_lanes)kt_load_lanes(sums + c), shift));
    }
    for (; c < count; c++) {
        row[c] = kt_saturate8(kt_shift_round(sums[c], shift));
    }
}

/* The sums over `count` of (p + 128) g, and of p + 128. */
static inline void kt_mean_sums(const int8_t *p, const int8_t *g, int32_t count, int32_t sums[2])
{
    kt_word_lanes products = (kt_word_lanes)kt_no_lanes(), parts = products;
    int32_t c;
    for (c = 0; c + KT_LANES <= count; c += KT_LANES) {
        const kt_word_lanes part = (kt_word_lanes)kt_widen_codes(p + c) + 128;
        products += part * (kt_word_lanes)kt_widen_codes(g + c);
        parts += part;
    }
    sums[0] = kt_sum_of((kt_lanes)products);
    sums[1] = kt_sum_of((kt_lanes)parts);
    for (; c < count; c++) {
        sums[0] += (p[c] + 128) * g[c];
        sums[1] += p[c] + 128;
    }
}

/* softmax_slope of `count` gradients, in their place. p: less 128. */
static inline void kt_softmax_slopes(const int8_t *p, int32_t mean, int32_t shift, int32_t count, int8_t *g)
{
    int32_t c = 0;
    for (; shift >= 1 && shift <= 31 && c + KT_LANES <= count; c += KT_LANES) {
        const kt_word_lanes part = (kt_word_lanes)kt_widen_codes(p + c) + 128;
        kt_store_narrow(g + c, kt_round_lanes(part * (256 * (kt_word_lanes)kt_widen_codes(g + c) - mean), shift));
    }
    for (; c < count; c++) {
        g[c] = softmax_slope(p[c] + 128, g[c], mean, shift);
    }
}

#endif
