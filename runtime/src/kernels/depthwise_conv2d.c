/* DEPTHWISE_CONV_2D, int8, per-channel scales: one kernel a channel.
 *
 *     y[c] = clamp(requantize(sum over taps of w[tap, c] * (x[tap, c / depth_multiplier] - z_x) + bias[c]) + z_y)
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice, as TensorFlow Lite Micro. */
#include "window.h"

/* bias + sum over a rectangle of taps; x and w point to its first values. */
static int32_t channel_sum(const kt_window *window, kt_taps rows, kt_taps columns, const int8_t *x, const int8_t *w,
                           int32_t offset, int32_t sum)
{
    const int32_t step_x = window->dilation[KT_X] * window->input[KT_CHANNELS];
    const int32_t step_w = window->output[KT_CHANNELS];
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t row_w = window->kernel[KT_X] * window->output[KT_CHANNELS];
    int32_t ky, kx;
    for (ky = 0; ky < rows.count; ky++) {
        int32_t at_x = ky * row_x;
        int32_t at_w = ky * row_w;
        for (kx = 0; kx < columns.count; kx++) {
            sum += w[at_w] * (x[at_x] + offset);
            at_x += step_x;
            at_w += step_w;
        }
    }
    return sum;
}

/* All channels of one position. */
static void convolve(const kt_depthwise_conv2d_params *params, kt_taps rows, kt_taps columns, const int8_t *x,
                     const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    const int32_t output_offset = params->output_offset;
    const int32_t low = params->clamp[0], high = params->clamp[1];
    const int32_t tap = rows.first * window->kernel[KT_X] + columns.first;
    const int8_t *w = params->weights + tap * window->output[KT_CHANNELS];
    int32_t at_x = (rows.index * window->input[KT_X] + columns.index) * window->input[KT_CHANNELS];
    int32_t c = 0;
    int32_t channel, copy;
    for (channel = 0; channel < window->input[KT_CHANNELS]; channel++, at_x++) {
        for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
            const int32_t sum = channel_sum(window, rows, columns, x + at_x, w + c, params->input_offset, bias[c]);
            const int32_t scaled = kt_requantize(sum, params->multiplier[c], params->shift[c]);
            y[c] = kt_clamp_with_offset(scaled, output_offset, low, high);
        }
    }
}

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++) {
            convolve(params, rows, kt_taps_at(window, KT_X, ox), x, bias, y);
            y += window->output[KT_CHANNELS];
        }
    }
}
