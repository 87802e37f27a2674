/* CONV_2D and FULLY_CONNECTED with a trained gain of each channel (gain.h).
 *
 *     y = clamp(requantize(W (x - z_x) + bias') + z_y), multiplier and shift with the gain */
#include "kt/kernels/convolution.h"
#include "../gain/gain.h"
#include "../window.h"

void kt_conv2d_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                         const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_conv2d_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, params->window.output[KT_CHANNELS], &own.multiplier, &own.shift, bias, scratch);
    kt_conv2d_s8(&own, x, bias, y);
}
