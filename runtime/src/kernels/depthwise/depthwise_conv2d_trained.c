/* DEPTHWISE_CONV_2D with a trained delta V, and where it has one a gain.
 *
 *     y[c] = clamp(requantize((W x + 2^exponent / s_w V x)[c] + bias[c]) + z_y), x without its zero point
 *
 * The delta's sum is rounded twice and saturates at +-2^30; the gain is that of gain.h. */
#include "kt/kernels/depthwise.h"
#include "depthwise_conv2d.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_trained trained;
    (void)scratch;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    trained.gain = kt_gain_of(gain, gain_exponent);
    kt_depthwise_walk(params, x, bias, &trained, y, kt_depthwise_position);
}

#endif
