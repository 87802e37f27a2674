/* depthwise_conv2d.h: the sums and the walk of depthwise convolutions, one position after the other. */
#ifndef KT_DEPTHWISE_CONV2D_H
#define KT_DEPTHWISE_CONV2D_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "../window.h"

/* The taps of one position inside the input, and where they start: input value and tap number. */
typedef struct {
    int32_t rows, columns;
    int32_t x, tap;
} kt_depthwise_patch;

/* sum over the taps of one channel; x points to the first value, w to the channel's weight at tap 0, `step` weights
 * apart from tap to tap. */
static inline int32_t kt_depthwise_sum(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x,
                                       const int8_t *w, int32_t step, int32_t offset)
{
    const int32_t step_x = window->dilation[KT_X] * window->input[KT_CHANNELS];
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t row_w = window->kernel[KT_X] * step;
    int32_t sum = 0;
    int32_t ky, kx;
    for (ky = 0; ky < patch->rows; ky++) {
        int32_t at_x = ky * row_x;
        int32_t at_w = patch->tap * step + ky * row_w;
        for (kx = 0; kx < patch->columns; kx++) {
            sum += w[at_w] * (x[at_x] + offset);
            at_x += step_x;
            at_w += step;
        }
    }
    return sum;
}

#if KT_SMALL_DSP
/* The same sums of four neighbouring channels, of a layer whose channels have one result each. */
static inline void kt_depthwise_four_sums(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x,
                                          const int8_t *w, uint32_t offsets, int32_t sums[4])
{
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t step_x = window->dilation[KT_X] * channels;
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * channels - patch->columns * step_x;
    const int32_t row_w = (window->kernel[KT_X] - patch->columns) * channels;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t ky, kx;
    w += patch->tap * channels;
    for (ky = patch->rows; ky > 0; ky--) {
        for (kx = patch->columns; kx > 0; kx--) {
            const uint32_t values = kt_load_word(x), weights = kt_load_word(w);
            const uint32_t even = kt_add_even(offsets, values), odd = kt_add_odd(offsets, values);
            const uint32_t even_weights = kt_even(weights), odd_weights = kt_odd(weights);
            sum0 += (int16_t)even * (int16_t)even_weights;
            sum1 += (int16_t)odd * (int16_t)odd_weights;
            sum2 += (int16_t)(even >> 16) * (int16_t)(even_weights >> 16);
            sum3 += (int16_t)(odd >> 16) * (int16_t)(odd_weights >> 16);
            x += step_x;
            w += channels;
        }
        x += row_x;
        w += row_w;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

/* All channels of one position. */
typedef void kt_depthwise_at(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                             const int32_t *bias, int8_t *y);

static inline int8_t kt_depthwise_result(const kt_depthwise_conv2d_params *params, int32_t total, int32_t c)
{
    const int32_t scaled = kt_requantize(total, params->multiplier[c], params->shift[c]);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

static inline void kt_depthwise_position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch,
                                         const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    const int32_t step = window->output[KT_CHANNELS];
    int32_t c = 0;
    int32_t channel = 0;
    int32_t copy;
#if KT_SMALL_DSP
    if (params->depth_multiplier == 1) {
        for (; channel + 4 <= step; channel += 4) {
            int32_t sums[4];
            kt_depthwise_four_sums(window, patch, x + (patch->x + channel), params->weights + channel,
                                   (uint16_t)params->input_offset * UINT32_C(0x00010001), sums);
            for (copy = 0; copy < 4; copy++, c++) {
                y[c] = kt_depthwise_result(params, kt_saturate32((int64_t)sums[copy] + bias[c]), c);
            }
        }
    }
#endif
    for (; channel < window->input[KT_CHANNELS]; channel++) {
        const int8_t *values = x + (patch->x + channel);
        for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
            const int64_t total = kt_depthwise_sum(window, patch, values, params->weights + c, step, params->input_offset);
            y[c] = kt_depthwise_result(params, kt_saturate32(total + bias[c]), c);
        }
    }
}

static inline void kt_depthwise_walk(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                     int8_t *y, kt_depthwise_at *at)
{
    const kt_window *window = &params->window;
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            kt_depthwise_patch patch;
            patch.rows = rows.count;
            patch.columns = columns.count;
            patch.x = (rows.index * window->input[KT_X] + columns.index) * window->input[KT_CHANNELS];
            patch.tap = rows.first * window->kernel[KT_X] + columns.first;
            at(params, &patch, x, bias, y + (oy * width + ox) * window->output[KT_CHANNELS]);
        }
    }
}

#endif
