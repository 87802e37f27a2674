/* Gradient of a bias: accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent).
 *
 * The sum is exact in int32; then one float32 rounding for each operation. */
#include "kt/kernels.h"
#include "parameter_gradient.h"

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const int32_t channels = params->channels;
    const int32_t positions = params->positions;
    const float scale = kt_gradient_scale(params->scale, *exponent);
    int32_t c, position;
    for (c = 0; c < channels; c++) {
        const int8_t *gradient = g + c;
        int32_t sum = 0;
        for (position = 0; position < positions; position++) {
            sum += gradient[position * channels];
        }
        accumulator[c] = kt_accumulate(accumulator[c], sum, scale);
    }
}
