/* Gradient of a depthwise delta, c the channel of column r:
 *
 *     accumulator[tap, r] += (float)(sum_p g[p, c] * (x[p, tap, c / depth_multiplier] - z_x)) * (scale * 2^exponent)
 *
 * One exact int32 sum over the positions whose window has the tap inside the input, then one float32 rounding an
 * operation. */
#include <stddef.h>

#include "parameter_gradient.h"
#include "window.h"

/* The sum of one tap and one channel; g and x point to the channel's first value. */
static int32_t tap_sum(const kt_depthwise_weight_gradient_params *params, int32_t ky, int32_t kx, const int8_t *g,
                       const int8_t *x)
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

void kt_depthwise_weight_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                  const int32_t *exponent, float *accumulator)
{
    const kt_window *window = &params->window;
    const float scale = kt_gradient_scale(params->scale, *exponent);
    int32_t channel, copy, ky, kx;
    int32_t c = 0;
    for (channel = 0; channel < window->input[KT_CHANNELS]; channel++) {
        for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
            const int32_t column = params->rows == NULL ? c : params->rows[c];
            float *entry;
            if (column < 0) {
                continue;
            }
            entry = accumulator + column;
            for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
                for (kx = 0; kx < window->kernel[KT_X]; kx++, entry += params->columns) {
                    *entry = kt_accumulate(*entry, tap_sum(params, ky, kx, g + c, x + channel), scale);
                }
            }
        }
    }
}
