/* CONV_2D and FULLY_CONNECTED with LoRA: an integer path into the accumulator, before the one requantisation.
 *
 *     y = clamp(requantize(W (x - z_x) + bias + alpha / (rank s_w) 2^(range + b_exponent) B u) + z_y)
 *
 * u comes from kt_down_projection_s8. The path is rounded twice and saturates at +-2^30. */
#include "conv2d_lora.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                       const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    kt_conv2d_lora_walk(params, x, bias, u, b, u_range, b_exponent, y);
}
#endif
