/* DEPTHWISE_CONV_2D with a trained gain of each channel, which is a part of multiplier, shift and bias (gain.h). */
#include "kt/kernels/depthwise.h"
#include "../gain/gain.h"
#include "../window.h"

void kt_depthwise_conv2d_scaled_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                   const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_conv2d_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, params->window.output[KT_CHANNELS], &own.multiplier, &own.shift, bias, scratch);
    kt_depthwise_conv2d_s8(&own, x, bias, y);
}
