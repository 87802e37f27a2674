/* CONV_2D and FULLY_CONNECTED with a trained gain of each channel (gain.h).
 *
 *     y = clamp(requantize(W (x - z_x) + bias') + z_y), multiplier and shift with the gain */
#include "kt/kernels/convolution.h"
#include "../gain/gain.h"
#include "../window.h"

enum { KT_GAINED_BLOCK = 32 }; /* channels of one position, each of which ends once */

/* The layer's channels [first, first + count). */
static kt_conv2d_params block_of(const kt_conv2d_params *params, int32_t first, int32_t count)
{
    const kt_window *const window = &params->window;
    kt_conv2d_params block = *params;
    block.window.output[KT_CHANNELS] = count;
    block.weights += first * window->kernel[0] * window->kernel[1] * window->input[KT_CHANNELS];
    block.multiplier += first;
    block.shift += first;
    block.offset_sums = params->offset_sums == NULL ? NULL : params->offset_sums + first;
    return block;
}

void kt_conv2d_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                         const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const int32_t *const output = params->window.output;
    const int32_t channels = output[KT_CHANNELS];
    const int32_t most = output[0] * output[1] == 1 ? KT_GAINED_BLOCK : channels;
    int32_t c;
    for (c = 0; c < channels; c += most) {
        const int32_t count = kt_minimum(channels - c, most);
        kt_conv2d_params block = block_of(params, c, count);
        const int32_t *const biases = kt_gained_layer(gain + c, gain_exponent, count, &block.multiplier, &block.shift, bias + c, scratch);
        kt_conv2d_s8(&block, x, biases, y + c);
    }
}
