/* path_gradient.h: what ../path_gradient.h does for each product, for the DSP extension. */
#ifndef KT_DSP_PATH_GRADIENT_H
#define KT_DSP_PATH_GRADIENT_H

#include "../../dsp/simd.h"

/* Codes of two channels whose gradient is not 0, and their weights. */
typedef struct {
    uint32_t codes;
    const int8_t *first, *second;
} kt_path_pair;

enum { KT_PATH_PAIRS = 8 };

/* row[k] += codes times weights[k], of all pairs: four k at once, whose sums stay in registers. */
static __attribute__((noinline)) void kt_add_path_pairs(const kt_path_pair *pairs, const kt_path_pair *end, int32_t count, int32_t *row)
{
    const kt_path_pair *pair;
    int32_t k;
    for (k = 0; k + 4 <= count; k += 4, row += 4) {
        int32_t sum0 = row[0], sum1 = row[1], sum2 = row[2], sum3 = row[3];
        for (pair = pairs; pair != end; pair++) {
            const uint32_t codes = pair->codes, first = kt_load_word(pair->first + k), second = kt_load_word(pair->second + k);
            const uint32_t low = kt_low_halves(first, second), high = kt_high_halves(first, second);
            sum0 = kt_add_products(kt_even(low), codes, sum0);
            sum1 = kt_add_products(kt_odd(low), codes, sum1);
            sum2 = kt_add_products(kt_even(high), codes, sum2);
            sum3 = kt_add_products(kt_odd(high), codes, sum3);
        }
        row[0] = sum0;
        row[1] = sum1;
        row[2] = sum2;
        row[3] = sum3;
    }
    for (; k < count; k++, row++) {
        for (pair = pairs; pair != end; pair++) {
            *row = kt_add_products(kt_low_halves((uint32_t)pair->first[k], (uint32_t)pair->second[k]), pair->codes, *row);
        }
    }
}

/* The next channel from *c on whose gradient is not 0 and that has a row, which moves *c behind it; -1 at the end. */
KT_INLINE int32_t kt_next_code(const kt_path *path, const int8_t *g, int32_t *c)
{
    const int32_t channels = path->channels;
    int32_t i;
    for (i = *c; i < channels; i++) {
        if (g[i] != 0 && (path->rows == NULL || path->rows[i] >= 0)) {
            *c = i + 1;
            return i;
        }
    }
    *c = i;
    return -1;
}

/* row[k] += over c of gradient[c] * weights[row of c, tap, first + k]: what one window gives; g, weights: its gradient, and the weights from
 * its tap and `first` on; step: from row to row of the weights. */
static __attribute__((noinline)) void kt_add_path_codes(const kt_path *path, const int8_t *g, const int8_t *weights, int32_t step, int32_t count,
                                                        int32_t *row)
{
    const int16_t *const rows = path->rows;
    kt_path_pair pairs[KT_PATH_PAIRS];
    kt_path_pair *pair = pairs;
    int32_t next = 0, c;
    while ((c = kt_next_code(path, g, &next)) >= 0) {
        pair->codes = (uint32_t)(uint16_t)g[c];
        pair->first = pair->second = weights + (rows == NULL ? c : rows[c]) * step;
        c = kt_next_code(path, g, &next);
        if (c >= 0) {
            pair->codes |= (uint32_t)(int32_t)g[c] << 16;
            pair->second = weights + (rows == NULL ? c : rows[c]) * step;
        }
        if (++pair == pairs + KT_PATH_PAIRS) {
            kt_add_path_pairs(pairs, pair, count, row);
            pair = pairs;
        }
    }
    if (pair != pairs) {
        kt_add_path_pairs(pairs, pair, count, row);
    }
}

/* sums[k] += row[k] * multiplier >> down, rounded twice: a right shift leaves nothing beyond 2^30. products: in a row; of so many codes even
 * the double is an int32, and has the sign of what is rounded. */
static inline void kt_add_path_shares(const int32_t *row, int32_t products, int32_t multiplier, int32_t down, int32_t count, int32_t *sums)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (down - 1));
    int32_t k;
    if (products > 1 << 15) {
        for (k = 0; k < count; k++) {
            sums[k] = __qadd(sums[k], kt_requantize_right(row[k], multiplier, down));
        }
        return;
    }
    for (k = 0; k < count; k++) {
        const int32_t twice = 2 * row[k];
        sums[k] = __qadd(sums[k], (kt_add_high_product(twice, multiplier, half) + (twice >> 31)) >> down);
    }
}

/* result[k] = saturate8(shift_round(sums[k], shift)), shift in [1, 31] */
static inline void kt_round_sums(const int32_t *sums, int32_t shift, int32_t count, int8_t *result)
{
    const int32_t before = shift - 1;
    for (; count >= 4; count -= 4, sums += 4, result += 4) {
        const uint32_t bytes = kt_bytes(__ssat(__qadd(sums[0] >> before, 1) >> 1, 8), __ssat(__qadd(sums[1] >> before, 1) >> 1, 8),
                                        __ssat(__qadd(sums[2] >> before, 1) >> 1, 8), __ssat(__qadd(sums[3] >> before, 1) >> 1, 8));
        kt_store_word(result, kt_symmetric(bytes));
    }
    for (; count > 0; count--) {
        *result++ = kt_rounded8(*sums++, shift);
    }
}

#endif
