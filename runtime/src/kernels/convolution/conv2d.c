/* CONV_2D and FULLY_CONNECTED, int8, per-channel scales.
 *
 *     y = clamp(requantize(W (x - z_x) + bias) + z_y)
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice, as TensorFlow Lite Micro. */
#include "conv2d.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_conv2d_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_conv2d_walk(params, x, bias, NULL, y, kt_requantize, NULL);
}
#endif
