/* Gradient of DEPTHWISE_CONV_2D with a trained gain to its input: the pre-scale holds the gain. */
#include "kt/kernels/depthwise.h"
#include "../gain/gain.h"
#include "../window.h"

/* The factors stand in front of what the gradient takes. */
void kt_depthwise_scaled_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                           const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t channels = params->window.output[KT_CHANNELS];
    kt_depthwise_input_gradient_params own = *params;
    own.prescale = kt_gained_prescale(&trained, channels, params->prescale, scratch);
    kt_depthwise_input_gradient_s8(&own, g, dx, (int32_t *)scratch + (channels + 1) / 2);
}
