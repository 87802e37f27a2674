/* kt_conv2d_s8 on cores with Helium: products 16 a instruction, requantised four channels at a time. The formula and its
 * rounding are those of ../conv2d.c. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d.h"
#include "conv2d_lanes.h"
#include "conv2d_short.h"

void kt_conv2d_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_conv2d_layer layer = kt_conv2d_layer_of(params, bias, NULL);
    if (!kt_conv2d_by_short_windows(layer, x, y) && !kt_conv2d_by_lanes(layer, x, y, NULL)) {
        kt_conv2d_walk(params, x, bias, NULL, y, kt_requantize, NULL);
    }
}
#endif
