/* FULLY_CONNECTED as LiteRT computes it: the product of kt_conv2d_s8, requantised with one rounding, ties away from zero.
 *
 *     y = clamp(requantize_once(W (x - z_x) + bias) + z_y) */
#include "kt/kernels/convolution.h"
#include "conv2d.h"

void kt_conv2d_once_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_conv2d_walk(params, x, bias, NULL, y, kt_requantize_once, NULL);
}
