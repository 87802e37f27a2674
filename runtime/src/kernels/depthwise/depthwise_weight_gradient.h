/* depthwise_weight_gradient.h: the gradient of a depthwise delta, channel by channel. */
#ifndef KT_DEPTHWISE_WEIGHT_GRADIENT_H
#define KT_DEPTHWISE_WEIGHT_GRADIENT_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "../parameter/parameter_gradient.h"
#include "../window.h"

/* The sum of one tap and one channel; g and x point to the channel's first value. */
static inline int32_t kt_depthwise_tap_sum(const kt_depthwise_weight_gradient_params *params, int32_t ky, int32_t kx,
                                           const int8_t *g, const int8_t *x)
{
    const kt_window *window = &params->window;
    const int32_t step_g = window->output[KT_CHANNELS];
    const int32_t step_x = window->input[KT_CHANNELS];
    int32_t iy = ky * window->dilation[KT_Y] - window->pad[KT_Y];
    int32_t sum = 0;
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++, iy += window->stride[KT_Y]) {
        const int8_t *gradient = g + oy * window->output[KT_X] * step_g;
        int32_t ix = kx * window->dilation[KT_X] - window->pad[KT_X];
        if (iy < 0 || iy >= window->input[KT_Y]) {
            continue;
        }
        for (ox = 0; ox < window->output[KT_X]; ox++, ix += window->stride[KT_X]) {
            if (ix >= 0 && ix < window->input[KT_X]) {
                sum += gradient[ox * step_g] * (x[(iy * window->input[KT_X] + ix) * step_x] + params->input_offset);
            }
        }
    }
    return sum;
}

static inline int32_t kt_delta_column(const kt_depthwise_weight_gradient_params *params, int32_t channel)
{
    return params->rows == NULL ? channel : params->rows[channel];
}

/* One axis of a layer; steps: bytes from one input to the next, and from one result. */
typedef struct {
    int32_t taps, stride, dilation, pad;
    int32_t inputs, outputs;
    int32_t x_step, g_step;
} kt_depthwise_axis;

static inline kt_depthwise_axis kt_depthwise_axis_of(const kt_window *window, int axis)
{
    const kt_depthwise_axis found = {
        .taps = window->kernel[axis],
        .stride = window->stride[axis],
        .dilation = window->dilation[axis],
        .pad = window->pad[axis],
        .inputs = window->input[axis],
        .outputs = window->output[axis],
        .x_step = (axis == KT_Y ? window->input[KT_X] : 1) * window->input[KT_CHANNELS],
        .g_step = (axis == KT_Y ? window->output[KT_X] : 1) * window->output[KT_CHANNELS],
    };
    return found;
}

/* Input channels from `first` on. */
static inline void kt_depthwise_weight_gradient_from(const kt_depthwise_weight_gradient_params *params, const int8_t *g,
                                                     const int8_t *x, float scale, float *accumulator, int32_t first)
{
    const kt_window *window = &params->window;
    int32_t channel, copy, ky, kx;
    int32_t c = first * params->depth_multiplier;
    for (channel = first; channel < window->input[KT_CHANNELS]; channel++) {
        for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
            const int32_t column = kt_delta_column(params, c);
            float *entry;
            if (column < 0) {
                continue;
            }
            entry = accumulator + column;
            for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
                for (kx = 0; kx < window->kernel[KT_X]; kx++, entry += params->columns) {
                    const int32_t sum = kt_depthwise_tap_sum(params, ky, kx, g + c, x + channel);
                    *entry = kt_accumulate(*entry, sum, scale);
                }
            }
        }
    }
}

#endif
