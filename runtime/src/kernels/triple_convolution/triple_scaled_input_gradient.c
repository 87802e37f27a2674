/* Gradient of CONV_2D and FULLY_CONNECTED with a trained gain to their input, from the weights of three sums in two words: the pre-scale holds
 * the gain. */
#include "kt/kernels/triple_convolution.h"
#include "../gain/gain.h"
#include "../window.h"

void kt_triple_scaled_input_gradient_s8(const kt_triple_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    kt_triple_input_gradient_params own = *params;
    own.prescale = kt_gained_prescale(&trained, params->window.output[KT_CHANNELS], params->prescale, scratch);
    kt_triple_input_gradient_s8(&own, g, dx);
}
