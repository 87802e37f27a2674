/* DEPTHWISE_CONV_2D of int16 activations with zero point 0 and int8 weights: one kernel a channel, sums of 64 bits.
 *
 * Source: TensorFlow Lite's reference kernel for int16. */
#include "kt/kernels/depthwise.h"
#include "../window.h"

/* The sum of one channel over a patch of the image; w: its weight at tap 0, `channels` weights apart from tap to tap. */
static int64_t channel_sum(const kt_window *window, kt_taps rows, kt_taps columns, const int16_t *x, const int8_t *w)
{
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t channels = window->output[KT_CHANNELS];
    int64_t sum = 0;
    int32_t ky, kx;
    for (ky = 0; ky < rows.count; ky++) {
        const int32_t line = rows.index + ky * window->dilation[KT_Y];
        int32_t at_x = (line * window->input[KT_X] + columns.index) * depth;
        int32_t at_w = ((rows.first + ky) * window->kernel[KT_X] + columns.first) * channels;
        for (kx = 0; kx < columns.count; kx++) {
            sum += (int32_t)w[at_w] * x[at_x];
            at_x += window->dilation[KT_X] * depth;
            at_w += channels;
        }
    }
    return sum;
}

void kt_depthwise_conv2d_s16(const kt_depthwise_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y)
{
    const kt_window *window = &params->window;
    int32_t oy, ox, channel, copy;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            int32_t c = 0;
            for (channel = 0; channel < window->input[KT_CHANNELS]; channel++) {
                for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
                    const int64_t sum = channel_sum(window, rows, columns, x + channel, params->weights + c) + bias[c];
                    const int32_t scaled = kt_requantize_wide(sum, params->multiplier[c], params->shift[c]);
                    *y++ = (int16_t)kt_clamp(scaled, params->clamp[0], params->clamp[1]);
                }
            }
        }
    }
}
