/* path_gradient.h: the share that a trained path, LoRA or a delta, adds to the sums of an input gradient. */
#ifndef KT_PATH_GRADIENT_H
#define KT_PATH_GRADIENT_H

#include <stddef.h>

#include "../../product/halves.h"
#include "input_gradient.h"

/* gradient [positions][channels] enters the path through weights [rows][kernel rows][kernel columns][input channels]; rows: of each
 * channel, -1 for none, NULL: its own. multiplier, shift: to units of the frozen sums. */
typedef struct {
    const int8_t *gradient;
    const int8_t *weights;
    int32_t channels;
    const int16_t *rows;
    int32_t multiplier;
    int32_t shift;
} kt_path;

/* Channels whose sums are found at once: codes are looked for once for all of them. */
enum { KT_PATH_BLOCK = KT_DSP ? 64 : KT_GATHER_BLOCK };

#if KT_DSP
#include "dsp/path_gradient.h"
#else

#if KT_VECTOR
#include "vector/path_rows.h"
#endif

enum { KT_USUAL_CHANNELS = 4, KT_FEW_PRODUCTS = 512 }; /* sums of so many products of codes have 23 bits */

#ifndef KT_SMALL
/* row[k] += the sum over four c of g[c] * weights[c * step + k] */
static inline void kt_add_four_rows(int32_t *row, const int8_t *weights, int32_t step, const int8_t *g, int32_t count)
{
    const int32_t first = g[0], second = g[1], third = g[2], fourth = g[3];
    const int8_t *const w1 = weights + step, *const w2 = w1 + step, *const w3 = w2 + step;
    int32_t k;
    if ((first | second | third | fourth) == 0) {
        return;
    }
    k = 0;
#if KT_VECTOR
    k = kt_add_rows_of_lanes(row, weights, step, g, count);
#endif
    for (; k < count; k++) {
        row[k] += first * weights[k] + second * w1[k] + third * w2[k] + fourth * w3[k];
    }
}
#endif

/* row[k] += over c of gradient[c] * weights[row of c, tap, first + k]: what one window gives; g, weights: its gradient, and the weights from
 * its tap and `first` on; step: from row to row of the weights. */
static inline void kt_add_path_codes(const kt_path *path, const int8_t *g, const int8_t *weights, int32_t step, int32_t count, int32_t *row)
{
    int32_t c;
#ifndef KT_SMALL
    if (path->rows == NULL && path->channels == KT_USUAL_CHANNELS) {
        kt_add_four_rows(row, weights, step, g, count);
        return;
    }
#endif
    for (c = 0; c < path->channels; c++) {
        const int32_t index = path->rows == NULL ? c : path->rows[c];
        if (g[c] != 0 && index >= 0) {
            kt_add_row(row, weights + index * step, g[c], count);
        }
    }
}

/* sums[k] += row[k] * multiplier >> down, rounded twice: a right shift leaves nothing beyond 2^30. products: in a row. */
static inline void kt_add_path_shares(const int32_t *row, int32_t products, int32_t multiplier, int32_t down, int32_t count, int32_t *sums)
{
    int32_t k = 0;
#if KT_VECTOR
    for (; multiplier >= 0 && k + KT_LANES <= count; k += KT_LANES) {
        const kt_lanes share = kt_divide_lanes(kt_high_multiply_lanes(kt_load_lanes(row + k), kt_splat(multiplier)), kt_splat(down));
        kt_store_lanes(sums + k, kt_add_saturated_lanes(kt_load_lanes(sums + k), share));
    }
#endif
#ifdef KT_SMALL
    products = KT_FEW_PRODUCTS + 1;
#endif
    for (; k < count && products <= KT_FEW_PRODUCTS; k++) {
        sums[k] = kt_add_saturated(sums[k], kt_short_share(row[k], multiplier, down));
    }
    for (; k < count; k++) {
        sums[k] = kt_add_words(sums[k], kt_requantize_right(row[k], multiplier, down));
    }
}

/* result[k] = saturate8(shift_round(sums[k], shift)), shift in [1, 31] */
static inline void kt_round_sums(const int32_t *sums, int32_t shift, int32_t count, int8_t *result)
{
    int32_t k = 0;
#if KT_VECTOR
    for (; k + KT_LANES <= count; k += KT_LANES) {
        kt_store_narrow(result + k, kt_round_lanes((kt_word_lanes)kt_load_lanes(sums + k), shift));
    }
#endif
    for (; k < count; k++) {
        result[k] = kt_saturate8((sums[k] >> shift) + ((sums[k] >> (shift - 1)) & 1));
    }
}
#endif

/* row[k] = sum over the windows that cover (y, x), and over c, of gradient[c] * weights[row of c, tap, first + k]. */
static inline void kt_gather_path(const kt_window *window, const kt_path *path, int32_t y, int32_t x, int32_t first,
                                  int32_t count, int32_t *row)
{
    const int32_t size = window->input[KT_CHANNELS];
    const int32_t step = kt_kernel_size(window);
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)count * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *const g = path->gradient + meeting.position * path->channels;
        kt_add_path_codes(path, g, path->weights + meeting.tap * size + first, step, count, row);
    }
}

/* sums[k] += (row[k] << left) * multiplier, rounded: products of codes have 14 bits, so that these stay within 2^30 shifted left, and what is left of
 * them too. */
static inline void kt_add_left_shares(const int32_t *row, int32_t multiplier, int32_t left, int32_t count, int32_t *sums)
{
    int32_t k = 0;
#if KT_VECTOR
    for (; multiplier >= 0 && k + KT_LANES <= count; k += KT_LANES) {
        const kt_lanes share = kt_high_multiply_lanes(kt_shift_lanes_left(kt_load_lanes(row + k), kt_splat(left)), kt_splat(multiplier));
        kt_store_lanes(sums + k, kt_add_saturated_lanes(kt_load_lanes(sums + k), share));
    }
#endif
    for (; k < count; k++) {
        const int64_t product = (int64_t)(row[k] * (INT32_C(1) << left)) * multiplier;
        sums[k] = kt_add_words(sums[k], (int32_t)((product + (INT64_C(1) << 30)) >> 31));
    }
}

/* sums[k] takes the path's share of channel first + k, rounded twice and limited to +-2^30; the total saturates at int32.
 * count: at most KT_PATH_BLOCK. */
static inline void kt_add_path(const kt_window *window, const kt_path *path, int32_t *sums, int32_t y, int32_t x,
                               int32_t first, int32_t count)
{
    const int32_t multiplier = path->multiplier, down = kt_minimum(-path->shift, 31);
    const int32_t products = path->channels * window->kernel[KT_Y] * window->kernel[KT_X];
    int32_t row[KT_PATH_BLOCK];
    int32_t k;
    kt_gather_path(window, path, y, x, first, count, row);
    if (down > 0) {
        kt_add_path_shares(row, products, multiplier, down, count, sums);
        return;
    }
    if (down > -16 && products < 1 << (16 + down)) {
        kt_add_left_shares(row, multiplier, -down, count, sums);
        return;
    }
    for (k = 0; k < count; k++) {
        const int32_t scaled = kt_requantize(row[k], path->multiplier, path->shift);
        sums[k] = kt_add_saturated(sums[k], kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT));
    }
}

#endif
