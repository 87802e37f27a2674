/* Gradient of weights: accumulator[c, k] += (float)(sum_p g[p, c] * (x[p, k] - z_x)) * (scale * 2^exponents). */
#include "weight_gradient.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

#if KT_TRIPLE && !defined(KT_SMALL)
#include "triple_weight_gradient.h"
#endif

void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator, void *scratch)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const float scale = kt_gradient_scale(params->scale, power);
    (void)scratch;
#if KT_TRIPLE && !defined(KT_SMALL)
    if (params->window.output[KT_CHANNELS] > 1 && params->window.output[KT_Y] * params->window.output[KT_X] >= KT_FEWEST_POSITIONS) {
        kt_triple_weight_gradient(params, g, x, scale, accumulator);
        return;
    }
#endif
    kt_weight_gradient_walk(params, g, x, scale, accumulator);
}

#endif
