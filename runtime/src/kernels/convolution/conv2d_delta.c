/* CONV_2D and FULLY_CONNECTED with a trainable delta V of the weights' shape, or with rows for some channels only.
 *
 *     y = clamp(requantize(W (x - z_x) + bias + 2^exponent / s_w V (x - z_x)) + z_y)
 *
 * The second product is rounded twice and saturates at +-2^30. A gain, where there is one, multiplies what stands
 * before the bias. */
#include "conv2d_delta.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                        const int8_t *delta_exponent, int8_t *y)
{
    kt_conv2d_delta_walk(params, x, bias, delta, delta_exponent, y);
}

#endif
