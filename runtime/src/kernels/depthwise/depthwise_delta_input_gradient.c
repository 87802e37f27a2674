/* Gradient of DEPTHWISE_CONV_2D with a trained delta V to its input.
 *
 *     dx[k] = saturate8(shift_round(frozen[k] + requantize(sum over windows and the results c of channel k of
 *             g[c] * V[tap, c]), shift)), frozen the sums of depthwise_input_gradient.h
 *
 * The delta's share is brought to units of the frozen sums (rounded twice, +-2^30), the total saturates at int32. */
#include "depthwise_delta_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t path_shift = params->path_shift + *delta_exponent;
    kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, path_shift, dx, (int32_t *)scratch);
}

#endif
