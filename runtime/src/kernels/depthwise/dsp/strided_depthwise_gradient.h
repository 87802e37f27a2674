/* strided_depthwise_gradient.h: the gradient of a depthwise layer with a 3x3 window and stride 2 to its input.
 *
 * Two neighbouring rows of gradients, scaled and paired, meet two rows of results: the one between them with the last and the first kernel
 * row, and the one before it with the middle row, as a pair whose other weight is zero. A column of gradients meets three neighbouring
 * results of a row; its last one is the next column's first.
 *
 * Where nothing that is still to be read lies under the two rows, they are written channel by channel. Elsewhere a piece of one row lies in
 * the scratch until all its channels have been read. */
#ifndef KT_DSP_STRIDED_DEPTHWISE_GRADIENT_H
#define KT_DSP_STRIDED_DEPTHWISE_GRADIENT_H

#include "kt/kernels/depthwise.h"
#include "../depthwise_input_gradient.h"
#include "../../convolution/dsp/scaled_columns.h"

enum { KT_STRIDED_KERNEL = 3, KT_STRIDED_COLUMNS = 24, KT_STRIDED_WORDS = KT_STRIDED_COLUMNS / 2 + 2 };

/* Both rows of gradients, and the results at hand: columns [x, end) of rows upper_y and upper_y + 1, of which one may lie outside. The
 * first column of gradients is the one whose last result is the first at hand; columns outside the image are zeros. */
typedef struct {
    kt_two_rows rows;
    int32_t upper_y;
    int32_t x, end;
    int32_t lead;  /* 1: the middle result of the first column comes before the others */
    int32_t pairs; /* columns after the first with two results */
    int32_t last;  /* 1: one with its first result alone */
} kt_strided_piece;

/* A row of results of one channel, in [-128, 127]; column: its words, four apart; w0, w1, w2: the weights of both rows of
 * gradients. */
KT_INLINE void kt_strided_results(const kt_strided_piece *p, const uint32_t *column, uint32_t w0, uint32_t w1, uint32_t w2, int32_t shift,
                                  int8_t *result, int32_t step)
{
    const int32_t half = INT32_C(1) << (shift - 1);
    const uint32_t *const end = column + 4 * p->pairs + 4;
    int32_t current = kt_add_products(*column, w2, half);
    if (p->lead) {
        *result = (int8_t)__ssat(kt_add_products(*column, w1, half) >> shift, 8);
        result += step;
    }
#pragma GCC unroll 2
    for (column += 4; column != end; column += 4) {
        const uint32_t word = *column;
        *result = (int8_t)__ssat(kt_add_products(word, w0, current) >> shift, 8);
        result[step] = (int8_t)__ssat(kt_add_products(word, w1, half) >> shift, 8);
        result += 2 * step;
        current = kt_add_products(word, w2, half);
    }
    if (p->last) {
        *result = (int8_t)__ssat(kt_add_products(*column, w0, current) >> shift, 8);
    }
}

/* Both rows of one channel, or one; weights: its first tap. */
static __attribute__((noinline)) void kt_strided_channel(const kt_strided_piece *p, const uint32_t *column, const int8_t *weights,
                                                         int32_t shift, int8_t *upper, int8_t *lower, int32_t step)
{
    const int8_t *const middle = weights + KT_STRIDED_KERNEL * step, *const last = middle + KT_STRIDED_KERNEL * step;
    if (upper != NULL) {
        kt_strided_results(p, column, kt_low_halves((uint32_t)middle[0], 0), kt_low_halves((uint32_t)middle[step], 0),
                           kt_low_halves((uint32_t)middle[2 * step], 0), shift, upper, step);
    }
    if (lower != NULL) {
        kt_strided_results(p, column, kt_low_halves((uint32_t)last[0], (uint32_t)weights[0]),
                           kt_low_halves((uint32_t)last[step], (uint32_t)weights[step]),
                           kt_low_halves((uint32_t)last[2 * step], (uint32_t)weights[2 * step]), shift, lower, step);
    }
}

/* All channels of a piece; results: of the rows that are wanted, at their first channel, or NULL; step: from column to column. */
static void kt_compute_strided(const kt_depthwise_input_gradient_params *params, const kt_strided_piece *p, int8_t *upper, int8_t *lower)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    kt_scaled_column scaled[KT_STRIDED_WORDS];
    int32_t c, i;
    for (c = 0; c < channels; c += 4) {
        kt_scale_columns(params, &p->rows, c, scaled);
        for (i = 0; i < 4; i++) {
            kt_strided_channel(p, &scaled->channel[i], params->weights + c + i, params->shift, upper == NULL ? NULL : upper + c + i,
                               lower == NULL ? NULL : lower + c + i, channels);
        }
    }
}

/* The piece of columns [x, end) around the gradients of rows `row` and `row` + 1. */
static kt_strided_piece kt_strided_piece_of(const kt_window *window, const int8_t *g, int32_t row, int32_t x, int32_t end)
{
    static const int8_t zero[4] = {0, 0, 0, 0};
    const int32_t channels = window->output[KT_CHANNELS], columns = window->output[KT_X];
    const int32_t at = x + window->pad[KT_X];
    const int32_t first = ((at + 1) >> 1) - 1;
    kt_strided_piece p;
    int32_t count, i;
    p.upper_y = 2 * row + 1 - window->pad[KT_Y];
    p.x = x;
    p.end = end;
    p.lead = at & 1;
    p.pairs = (end - x - p.lead) >> 1;
    p.last = (end - x - p.lead) & 1;
    count = 1 + p.pairs + p.last;
    p.rows.outside_left = first < 0 ? 1 : 0;
    p.rows.inside = kt_clamp(columns - first - p.rows.outside_left, 0, count - p.rows.outside_left);
    p.rows.outside_right = count - p.rows.outside_left - p.rows.inside;
    for (i = 0; i < 2; i++) {
        const int exists = kt_within(row + i, window->output[KT_Y]);
        p.rows.row[i] = exists ? g + ((row + i) * columns + first + p.rows.outside_left) * channels : zero;
        p.rows.step[i] = exists ? channels : 0;
    }
    return p;
}

/* Whether rows [y, end) of the result may be written before all that they and later rows read of g has been read: rows from `row` on, or up
 * to the next one. */
static int kt_is_clear(const kt_window *window, const int8_t *g, int32_t row, int32_t direction, const int8_t *dx, int32_t y, int32_t end)
{
    const int32_t line = window->output[KT_X] * window->output[KT_CHANNELS], next = window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t rows = window->output[KT_Y];
    const uintptr_t first = (uintptr_t)(g + (direction > 0 ? kt_clamp(row, 0, rows) : 0) * line);
    const uintptr_t behind = (uintptr_t)(g + (direction > 0 ? rows : kt_clamp(row + 2, 0, rows)) * line);
    return (uintptr_t)(dx + end * next) <= first || (uintptr_t)(dx + y * next) >= behind;
}

/* Both rows of results at once, channel by channel. */
static __attribute__((noinline)) void kt_strided_rows(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t row, int32_t y,
                                                      int32_t end, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t width = window->input[KT_X], channels = window->input[KT_CHANNELS];
    const int32_t pieces = (width + KT_STRIDED_COLUMNS - 1) / KT_STRIDED_COLUMNS;
    int8_t *const first = dx + y * width * channels;
    int32_t i;
    for (i = 0; i < pieces; i++) {
        const kt_strided_piece p = kt_strided_piece_of(window, g, row, i * width / pieces, (i + 1) * width / pieces);
        int8_t *const upper = dx + (p.upper_y * width + p.x) * channels;
        kt_compute_strided(params, &p, p.upper_y >= y ? upper : NULL, p.upper_y + 1 < end ? upper + width * channels : NULL);
    }
    kt_store_symmetric(first, first, (end - y) * width * channels);
}

/* One row of results, piece by piece by way of the scratch. */
static __attribute__((noinline)) void kt_strided_row(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t row, int32_t y,
                                                     int32_t direction, int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t width = window->input[KT_X], channels = window->input[KT_CHANNELS];
    const int32_t pieces = (width + KT_DEPTHWISE_COLUMNS - 1) / KT_DEPTHWISE_COLUMNS;
    int32_t i;
    for (i = kt_first(direction, pieces); kt_within(i, pieces); i += direction) {
        const kt_strided_piece p = kt_strided_piece_of(window, g, row, i * width / pieces, (i + 1) * width / pieces);
        kt_compute_strided(params, &p, p.upper_y == y ? scratch : NULL, p.upper_y == y ? NULL : scratch);
        kt_store_symmetric(scratch, dx + (y * width + p.x) * channels, (p.end - p.x) * channels);
    }
}

static __attribute__((noinline)) void kt_strided_gradient(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx,
                                                          int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t height = window->input[KT_Y];
    const int32_t start = ((window->pad[KT_Y] + 1) >> 1) - 1; /* the row of gradients before the first two rows of results */
    const int32_t groups = ((height + window->pad[KT_Y]) >> 1) - start;
    const int32_t direction = kt_direction(g, dx);
    int32_t i, y;
    for (i = kt_first(direction, groups); kt_within(i, groups); i += direction) {
        const int32_t row = start + i;
        const int32_t upper = 2 * row + 1 - window->pad[KT_Y];
        const int32_t from = kt_maximum(upper, 0), end = kt_minimum(upper + 2, height);
        if (kt_is_clear(window, g, row, direction, dx, from, end)) {
            kt_strided_rows(params, g, row, from, end, dx);
            continue;
        }
        for (y = kt_first(direction, end - from); kt_within(y, end - from); y += direction) {
            kt_strided_row(params, g, row, from + y, direction, dx, scratch);
        }
    }
}

#endif
