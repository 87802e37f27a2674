/* banded_depthwise.h: depthwise convolutions with a 3x3 window, a band of rows at a time.
 *
 * A band reads the rows of four channels, writes its results, and goes on with the next four: the results of a whole band may not lie
 * over what it reads. Bands are taken forwards or backwards, as positions are elsewhere. */
#ifndef KT_BANDED_DEPTHWISE_H
#define KT_BANDED_DEPTHWISE_H

#include "../product/band.h"
#include "packed_bias.h"
#include "window.h"

/* Words from one column pair of the buffer to the next. */
enum { KT_COLUMN_PAIR = 4 * KT_BAND_INPUT_ROWS };

/* Two columns of four channels as one word a channel. */
KT_INLINE void kt_unzip_pair(int32_t *words, const int8_t *left, const int8_t *right)
{
#if KT_DSP
    uint32_t l, r, low, high;
    memcpy(&l, left, 4);
    memcpy(&r, right, 4);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(l), "r"(r));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(r), "r"(l));
    __asm__("sxtb16 %0, %1" : "=r"(words[0]) : "r"(low));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(words[KT_BAND_INPUT_ROWS]) : "r"(low));
    __asm__("sxtb16 %0, %1" : "=r"(words[2 * KT_BAND_INPUT_ROWS]) : "r"(high));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(words[3 * KT_BAND_INPUT_ROWS]) : "r"(high));
#else
    int32_t c;
    for (c = 0; c < 4; c++) {
        words[c * KT_BAND_INPUT_ROWS] = kt_pair_of(left[c], right[c]);
    }
#endif
}

/* Column pairs of a row of the buffer, from left to right: outside the image, cut by its left border, inside, cut by its right border,
 * outside again. */
typedef struct {
    int32_t before, cut_left, inside, cut_right, after;
} kt_columns;

static inline kt_columns kt_columns_of(const kt_window *window)
{
    const int32_t width = window->input[KT_X];
    const int32_t tiles = (window->output[KT_X] + 1) / 2;
    const int32_t pairs = tiles * window->stride[KT_X] + 1;
    const int32_t pad = kt_maximum(window->pad[KT_X], 0);
    kt_columns columns;
    int32_t left;
    columns.before = kt_minimum(pad / 2, pairs);
    columns.cut_left = kt_minimum(pad % 2, pairs - columns.before);
    left = pairs - columns.before - columns.cut_left;
    columns.inside = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) / 2, left);
    left -= columns.inside;
    columns.cut_right = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) % 2, left);
    columns.after = left - columns.cut_right;
    return columns;
}

static inline int32_t kt_columns_count(const kt_columns *columns)
{
    return columns->before + columns->cut_left + columns->inside + columns->cut_right + columns->after;
}

KT_INLINE int32_t *kt_outside_pairs(int32_t *words, int32_t value, int32_t count)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; count > 0; count--, words += KT_COLUMN_PAIR) {
        words[0] = pair;
        words[KT_BAND_INPUT_ROWS] = pair;
        words[2 * KT_BAND_INPUT_ROWS] = pair;
        words[3 * KT_BAND_INPUT_ROWS] = pair;
    }
    return words;
}

/* Rows of one column pair; left, right: its two columns in the first of them, each with the bytes from row to row. */
KT_INLINE void kt_unzip_rows(int32_t *words, const int8_t *left, int32_t left_step, const int8_t *right,
                             int32_t right_step, int32_t rows)
{
    for (; rows > 0; rows--, left += left_step, right += right_step, words++) {
        kt_unzip_pair(words, left, right);
    }
}

/* Rows inside the image of four channels; x points to the first of them in the first row and the first column that is read. step, line: bytes
 * from column to column and from row to row. */
KT_INLINE void kt_unzip_inside(const kt_columns *columns, const int8_t *x, int32_t step, int32_t line, const int8_t *outside,
                               int32_t *words, int32_t rows)
{
    int32_t i;
    for (i = 0; columns->before > 0 && i < rows; i++) {
        kt_outside_pairs(words + i, *outside, columns->before);
    }
    words += columns->before * KT_COLUMN_PAIR;
    if (columns->cut_left) {
        kt_unzip_rows(words, outside, 0, x, line, rows);
        words += KT_COLUMN_PAIR;
        x += step;
    }
    for (i = columns->inside; i > 0; i--, x += 2 * step, words += KT_COLUMN_PAIR) {
        kt_unzip_rows(words, x, line, x + step, line, rows);
    }
    if (columns->cut_right) {
        kt_unzip_rows(words, x, line, outside, 0, rows);
        words += KT_COLUMN_PAIR;
    }
    for (i = 0; columns->after > 0 && i < rows; i++) {
        kt_outside_pairs(words + i, *outside, columns->after);
    }
}

/* The band of `rows` result rows from oy on, every channel. */
KT_INLINE void kt_banded_rows(const kt_packed_depthwise_params *params, const kt_columns *columns, const int8_t *x,
                              const int32_t *bias, int8_t *y, int32_t *words, int32_t oy, int32_t rows,
                              kt_band_kernel *kernel)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t line = window->input[KT_X] * channels;
    const int32_t next = window->output[KT_X] * channels;
    const int8_t zero = (int8_t)params->outside;
    const int8_t outside[4] = {zero, zero, zero, zero};
    const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
    const int32_t inputs = (rows - 1) * window->stride[KT_Y] + 3;
    const int32_t low = kt_clamp(-top, 0, inputs), high = kt_clamp(window->input[KT_Y] - top, low, inputs);
    const kt_band band = {channels, rows > 1 ? next : 0, rows > 2 ? 2 * next : 0, rows > 3 ? next : 0,
                          window->output[KT_X] / 2, window->output[KT_X] % 2};
    const int32_t *stream = params->stream;
    const int32_t *start = bias;
    int32_t folded[KT_QUAD];
    int32_t c, row, i;
    x += top * line + kt_maximum(-window->pad[KT_X], 0) * channels;
    y += oy * next;
    for (c = 0; c < channels; c += KT_QUAD, x += KT_QUAD, y += KT_QUAD, stream += KT_QUAD * KT_BAND_STREAM) {
        for (row = 0; row < low; row++) {
            kt_outside_pairs(words + row, zero, kt_columns_count(columns));
        }
        kt_unzip_inside(columns, x + low * line, channels, line, outside, words + low, high - low);
        for (row = high; row < inputs; row++) {
            kt_outside_pairs(words + row, zero, kt_columns_count(columns));
        }
        if (params->fold != NULL) {
            for (i = 0; i < KT_QUAD; i++) {
                folded[i] = params->fold[c + i] + kt_clamp(bias[c + i], -params->bias_limit, params->bias_limit);
            }
            start = folded;
        }
        kernel(y, words, stream, start, &band);
        start += KT_QUAD;
    }
}

KT_INLINE void kt_banded_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch, kt_band_kernel *kernel)
{
    const kt_window *const window = &params->window;
    const kt_columns columns = kt_columns_of(window);
    const int32_t height = params->rows;
    const int32_t bands = (window->output[KT_Y] + height - 1) / height;
    const int32_t direction = kt_direction(x, y);
    int32_t band;
    for (band = kt_first(direction, bands); kt_within(band, bands); band += direction) {
        const int32_t oy = band * height;
        const int32_t rows = kt_minimum(window->output[KT_Y] - oy, height);
        kt_banded_rows(params, &columns, x, bias, y, scratch, oy, rows, kernel);
    }
}

#endif
