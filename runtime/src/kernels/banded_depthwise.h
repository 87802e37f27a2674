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

/* Column pairs that a band of this width covers. */
static inline int32_t kt_band_pairs(const kt_window *window)
{
    const int32_t tiles = (window->output[KT_X] + 1) / 2;
    return tiles * window->stride[KT_X] + 1;
}

/* One row of four channels: x points to the first of them in the first column; NULL for a row outside the image. */
static inline void kt_unzip_row(const kt_window *window, const int8_t *x, const int8_t *outside, int32_t *words)
{
    const int32_t step = window->input[KT_CHANNELS];
    const int32_t width = x == NULL ? 0 : window->input[KT_X];
    int32_t left = -window->pad[KT_X];
    int32_t pairs = kt_band_pairs(window);
    for (; pairs > 0 && left < 0; pairs--, left += 2, words += KT_COLUMN_PAIR) {
        const int8_t *const first = kt_within(left, width) ? x + left * step : outside;
        const int8_t *const second = kt_within(left + 1, width) ? x + (left + 1) * step : outside;
        kt_unzip_pair(words, first, second);
    }
    if (width > 0) {
        const int8_t *at = x + left * step;
        for (; pairs > 0 && left + 1 < width; pairs--, left += 2, words += KT_COLUMN_PAIR, at += 2 * step) {
            kt_unzip_pair(words, at, at + step);
        }
    }
    for (; pairs > 0; pairs--, left += 2, words += KT_COLUMN_PAIR) {
        kt_unzip_pair(words, kt_within(left, width) ? x + left * step : outside, outside);
    }
}

/* The band of `rows` result rows from oy on, every channel. */
KT_INLINE void kt_banded_rows(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              int32_t *columns, int32_t oy, int32_t rows, kt_band_kernel *kernel)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t line = window->input[KT_X] * channels;
    const int32_t next = window->output[KT_X] * channels;
    const int8_t zero = (int8_t)params->outside;
    const int8_t outside[4] = {zero, zero, zero, zero};
    const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
    const int32_t inputs = (rows - 1) * window->stride[KT_Y] + 3;
    const kt_band band = {channels, rows > 1 ? next : 0, rows > 2 ? 2 * next : 0, rows > 3 ? next : 0,
                          window->output[KT_X] / 2, window->output[KT_X] % 2};
    int32_t c, row;
    for (c = 0; c < channels; c += KT_QUAD) {
        for (row = 0; row < inputs; row++) {
            const int within = kt_within(top + row, window->input[KT_Y]);
            kt_unzip_row(window, within ? x + (top + row) * line + c : NULL, outside, columns + row);
        }
        kernel(y + oy * next + c, columns, params->stream + c * KT_BAND_STREAM, bias + c, &band);
    }
}

/* height: result rows of a band. */
KT_INLINE void kt_banded_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch, int32_t height, kt_band_kernel *kernel)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t bands = (window->output[KT_Y] + height - 1) / height;
    const int32_t direction = kt_direction(x, y);
    int32_t *const columns = scratch;
    int32_t *const sums = columns + kt_band_pairs(window) * KT_COLUMN_PAIR;
    const int32_t *const start = kt_packed_bias(bias, params->fold, params->bias_limit, channels, sums);
    int32_t band;
    for (band = kt_first(direction, bands); kt_within(band, bands); band += direction) {
        const int32_t oy = band * height;
        const int32_t rows = kt_minimum(window->output[KT_Y] - oy, height);
        kt_banded_rows(params, x, start, y, columns, oy, rows, kernel);
    }
}

#endif
