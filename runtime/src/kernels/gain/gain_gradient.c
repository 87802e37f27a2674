/* Gradient of a trained gain, from the int8 result of the layer: no accumulator is kept.
 *
 *     accumulator[c] += s_y sum_p g (y - z_y) / gain * (scale * 2^exponent)
 *
 * The sum is exact in int32; then one float32 rounding an operation. */
#include "gain_gradient.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int8_t *gain,
                      const int8_t *gain_exponent, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    kt_gain_gradient_of(params, g, y, gain, kt_gain_step(*gain_exponent), scale, accumulator, 0, params->channels);
}

#endif
