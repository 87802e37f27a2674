/* Gradient of weights: accumulator[c, k] += (float)(sum_p g[p, c] * (x[p, k] - z_x)) * (scale * 2^exponents). */
#include "weight_gradient.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    kt_weight_gradient_walk(params, g, x, kt_gradient_scale(params->scale, power), accumulator);
}

#endif
