/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA or a delta to their input: the frozen path plus the trained one.
 *
 *     dx = saturate8(shift_round(W^T G' + requantize(V^T g), shift)), V and g of the delta, or A and du of LoRA
 *
 * The trained path is brought to units of the frozen one (rounded twice, +-2^30), the total saturates at int32. */
#include "conv2d_input_gradient.h"
#include "path_gradient.h"

void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g,
                                      const int8_t *gain, const int8_t *gain_exponent, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights,
                                      const int8_t *weights_exponent, int8_t *dx)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    const kt_path path = {path_g,
                          path_weights,
                          params->path_channels,
                          params->path_rows,
                          params->path_multiplier,
                          params->path_shift + exponent};
    int32_t frozen[KT_GATHER_BLOCK];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, first, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            for (first = 0; first < channels; first += KT_GATHER_BLOCK) {
                const int32_t count = kt_minimum(channels - first, KT_GATHER_BLOCK);
                kt_conv2d_gather(params, g, &trained, y, x, first, count, frozen);
                kt_add_path(window, &path, frozen, y, x, first, count);
                for (k = 0; k < count; k++) {
                    result[first + k] = kt_saturate8(kt_shift_round(frozen[k], params->shift));
                }
            }
        }
    }
}
