/* winograd_conv2d.h: 3x3 convolutions of stride 1 with a border of 1, two tiles of 2 x 2 results at a time.
 *
 * The two rows of results that a row of tiles makes may not lie over what the row reads; rows of tiles are taken forwards or backwards. */
#ifndef KT_WINOGRAD_CONV2D_H
#define KT_WINOGRAD_CONV2D_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/winograd.h"
#include "packed_bias.h"
#include "../window.h"

/* Parts of the scratch. */
typedef struct {
    int32_t *values;
    int32_t *sums;
    int8_t *border; /* 4 x 6 values under two tiles at the border */
} kt_winograd_scratch;

/* The values under the two tiles whose first one is at (top, left), transformed. */
static inline void kt_load_tiles(const kt_packed_conv2d_params *params, const int8_t *x, int32_t top, int32_t left, int8_t *border,
                                 int32_t *values)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t first = kt_maximum(0, -left), last = kt_minimum(KT_TILE_COLUMNS, width - left), row = KT_TILE_COLUMNS * channels;
    int32_t i;
    if (top >= 0 && top + 4 <= height && first == 0 && last == KT_TILE_COLUMNS) {
        kt_transform_tiles(x + (top * width + left) * channels, width * channels, channels, values);
        return;
    }
    memset(border, (int)params->outside, 4 * (size_t)row);
    for (i = 0; i < 4; i++) {
        if (kt_within(top + i, height)) {
            memcpy(border + i * row + first * channels, x + ((top + i) * width + left + first) * channels, (size_t)((last - first) * channels));
        }
    }
    kt_transform_tiles(border, row, channels, values);
}

/* Four channels of both tiles; y: the first result of the first. negative: what a negative sum takes from the addend. */
KT_INLINE void kt_finish_tiles(const int32_t *sums, const int32_t *bias, const int32_t *epilogue, int8_t *y, int32_t channels,
                               int32_t line, int32_t negative)
{
    int32_t c, tile, i;
    for (c = 0; c < KT_QUAD; c++, epilogue += 3) {
        const uint32_t start = (uint32_t)bias[c] << 8;
        for (tile = 0; tile < 2; tile++) {
            int8_t *const to = y + 2 * tile * channels + c;
            int32_t results[4];
            kt_inverse_transform(sums + 4 * tile + c, results);
#pragma GCC unroll 4
            for (i = 0; i < 4; i++) {
                const int32_t sum = (int32_t)(start + ((uint32_t)results[i] << 6)); /* 256 times, exact: results are multiples of 4 */
                const int32_t addend = epilogue[1] - ((sum >> 31) & negative);
                to[(i >> 1) * line + (i & 1) * channels] = kt_requantize_scaled(sum, epilogue[0], addend, epilogue[2]);
            }
        }
    }
}

KT_INLINE void kt_winograd_walk(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                                void *scratch, int32_t negative)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t width = window->output[KT_X], line = width * channels;
    const int32_t rows = window->output[KT_Y] / 2;
    const int32_t direction = kt_direction(x, y);
    kt_winograd_scratch part;
    const int32_t *start;
    int32_t row, left, c;
    part.values = scratch;
    part.sums = part.values + 2 * KT_POINTS * params->pairs;
    part.border = (int8_t *)(part.sums + KT_TILE_SUMS);
    start = kt_packed_bias(bias, params->fold, params->bias_limit, channels,
                           (int32_t *)(void *)(part.border + 4 * KT_TILE_COLUMNS * window->input[KT_CHANNELS]));
    for (row = kt_first(direction, rows); kt_within(row, rows); row += direction) {
        for (left = 0; left < width; left += 4) {
            const int32_t *stream = params->stream;
            kt_load_tiles(params, x, 2 * row - 1, left - 1, part.border, part.values);
            for (c = 0; c < channels; c += KT_QUAD) {
                kt_winograd_points(stream, part.values, part.sums, params->pairs);
                stream += 4 * KT_POINTS * params->pairs;
                kt_finish_tiles(part.sums, start + c, stream, y + 2 * row * line + left * channels + c, channels, line, negative);
                stream += KT_EPILOGUE;
            }
        }
    }
}

#endif
