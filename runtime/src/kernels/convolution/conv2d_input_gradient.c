/* Gradient of CONV_2D and FULLY_CONNECTED to their input.
 *
 *     dx = saturate8(shift_round(W^T G', shift)), G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 *
 * Both roundings are half up; a truncating shift would bias every element and deep networks would not train. */
#include "../../product/short_blocks.h"
#include "conv2d_input_gradient.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_conv2d_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t row[KT_GATHER_BLOCK];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, first;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            for (first = 0; first < channels; first += KT_GATHER_BLOCK) {
                const int32_t count = kt_minimum(channels - first, KT_GATHER_BLOCK);
                kt_conv2d_gather(params, g, NULL, y, x, first, count, row);
                kt_round_block(row, params->shift, count, result + first);
            }
        }
    }
}
#endif
