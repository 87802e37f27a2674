/* Gradient of a bias: accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent).
 *
 * The sum is exact in int32; then one float32 rounding for each operation. */
#include "bias_gradient.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    kt_bias_gradient_of(params, g, scale, accumulator, 0, params->channels);
}

#endif
