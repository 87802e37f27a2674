/* packed_depthwise.h: depthwise convolutions of any window from packed weights, four channels at a time. */
#ifndef KT_PACKED_DEPTHWISE_H
#define KT_PACKED_DEPTHWISE_H

#include "../product/halves.h"
#include "packed_bias.h"
#include "window.h"

/* One tap of four channels. */
KT_INLINE void kt_add_tap(int32_t even, int32_t odd, const int32_t *weights, int32_t sums[4])
{
    sums[0] = kt_add_low(sums[0], even, weights[0]);
    sums[2] = kt_add_high(sums[2], even, weights[0]);
    sums[1] = kt_add_low(sums[1], odd, weights[1]);
    sums[3] = kt_add_high(sums[3], odd, weights[1]);
}

/* A window inside the image; taps: of a row; step, next: bytes from tap to tap and from row to row. */
KT_INLINE void kt_add_taps(const int8_t *x, int32_t rows, int32_t taps, int32_t step, int32_t next, const int32_t *weights,
                           int32_t sums[4])
{
    int32_t row, tap, even, odd;
    for (row = 0; row < rows; row++, x += next) {
        const int8_t *at = x;
        for (tap = 0; tap < taps; tap++, at += step, weights += 2) {
            kt_split_four(at, &even, &odd);
            kt_add_tap(even, odd, weights, sums);
        }
    }
}

/* A window that the border cuts. */
static inline void kt_add_cut_taps(const kt_window *window, int32_t outside, const int8_t *x, int32_t top, int32_t left,
                                   const int32_t *weights, int32_t sums[4])
{
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t pair = kt_pair_of(outside, outside);
    int32_t ky, kx, even, odd;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t y = top + ky * window->dilation[KT_Y];
        for (kx = 0; kx < window->kernel[KT_X]; kx++, weights += 2) {
            const int32_t at = left + kx * window->dilation[KT_X];
            if (kt_within(y, window->input[KT_Y]) && kt_within(at, window->input[KT_X])) {
                kt_split_four(x + (y * window->input[KT_X] + at) * channels, &even, &odd);
            } else {
                even = odd = pair;
            }
            kt_add_tap(even, odd, weights, sums);
        }
    }
}

/* All channels of one position. negative: what a negative sum takes from the addend. */
KT_INLINE void kt_packed_depthwise_position(const kt_packed_depthwise_params *params, const int8_t *x,
                                            const int32_t *bias, int32_t top, int32_t left, int8_t *y, int32_t negative)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t rows = window->kernel[KT_Y], taps = window->kernel[KT_X];
    const int32_t step = window->dilation[KT_X] * channels;
    const int32_t next = window->dilation[KT_Y] * window->input[KT_X] * channels;
    const int32_t bottom = top + (rows - 1) * window->dilation[KT_Y];
    const int32_t right = left + (taps - 1) * window->dilation[KT_X];
    const int inside = (top | left) >= 0 && bottom < window->input[KT_Y] && right < window->input[KT_X];
    const int8_t *at = x + (top * window->input[KT_X] + left) * channels;
    const int32_t *stream = params->stream;
    int32_t c, i;
    for (c = 0; c < channels; c += KT_QUAD, at += KT_QUAD, x += KT_QUAD, y += KT_QUAD, bias += KT_QUAD) {
        int32_t sums[4] = {bias[0], bias[1], bias[2], bias[3]};
        if (!inside) {
            kt_add_cut_taps(window, params->outside, x, top, left, stream, sums);
        } else if (taps == 3) {
            kt_add_taps(at, rows, 3, step, next, stream, sums);
        } else if (taps == 5) {
            kt_add_taps(at, rows, 5, step, next, stream, sums);
        } else if (taps == 7) {
            kt_add_taps(at, rows, 7, step, next, stream, sums);
        } else {
            kt_add_taps(at, rows, taps, step, next, stream, sums);
        }
        stream += 2 * rows * taps;
        for (i = 0; i < KT_QUAD; i++, stream += KT_EPILOGUE / KT_QUAD) {
            const int32_t addend = stream[1] - ((sums[i] >> 31) & negative);
            y[i] = kt_short_requantize(sums[i], stream[0], addend, stream[2]);
        }
    }
}

KT_INLINE void kt_packed_depthwise_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                        int8_t *y, void *scratch, int32_t negative)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t height = window->output[KT_Y], width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    const int32_t *const start = kt_packed_bias(bias, params->fold, params->bias_limit, channels, scratch);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const int32_t left = ox * window->stride[KT_X] - window->pad[KT_X];
            int8_t *const result = y + (oy * width + ox) * channels;
            kt_packed_depthwise_position(params, x, start, top, left, result, negative);
        }
    }
}

#endif
