/* Gradient of a bias: accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent).
 *
 * The sum is exact in int32; then one float32 rounding for each operation. */
#include "bias_gradient.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = params->channels, fours = channels & -4;
    int32_t c, position;
    for (c = 0; c < fours; c += 4) {
        const int8_t *gradient = g + c;
        int32_t first = 0, second = 0, third = 0, fourth = 0;
        for (position = params->positions; position > 0; position--, gradient += channels) {
            first += gradient[0];
            second += gradient[1];
            third += gradient[2];
            fourth += gradient[3];
        }
        accumulator[c] = kt_accumulate(accumulator[c], first, scale);
        accumulator[c + 1] = kt_accumulate(accumulator[c + 1], second, scale);
        accumulator[c + 2] = kt_accumulate(accumulator[c + 2], third, scale);
        accumulator[c + 3] = kt_accumulate(accumulator[c + 3], fourth, scale);
    }
    kt_bias_gradient_of(params, g, scale, accumulator, fours, channels);
}

#endif
