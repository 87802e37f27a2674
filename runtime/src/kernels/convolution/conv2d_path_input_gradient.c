/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA or a delta to their input: the frozen path plus the trained one.
 *
 *     dx = saturate8(shift_round(W^T G' + requantize(V^T g), shift)), V and g of the delta, or A and du of LoRA
 *
 * The trained path is brought to units of the frozen one (rounded twice, +-2^30), the total saturates at int32. */
#include "kt/kernels/convolution.h"
#include "conv2d_path_gradient.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                      const int8_t *gain_exponent, const int8_t *path_g, const int8_t *path_exponent,
                                      const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    const kt_path path = {path_g, path_weights, params->path_channels, params->path_rows, params->path_multiplier, params->path_shift + exponent};
    (void)kt_walk_path_gradient(params, g, &trained, &path, kt_direction(g, dx), params->shift, dx);
}

#endif
