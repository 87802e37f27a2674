/* DEPTHWISE_CONV_2D, int8, per-channel scales: one kernel a channel.
 *
 *     y[c] = clamp(requantize(sum over taps of w[tap, c] * (x[tap, c / depth_multiplier] - z_x) + bias[c]) + z_y)
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice, as TensorFlow Lite Micro. */
#include "depthwise_conv2d.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_depthwise_walk(params, x, bias, y, kt_depthwise_position);
}
#endif
