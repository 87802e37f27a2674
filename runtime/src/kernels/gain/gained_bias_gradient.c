/* Gradient of a bias in front of a trained gain: accumulator[c] += (float)(sum_p g[p, c]) * gain * (scale * 2^exponent).
 *
 * The sum is exact in int32; then one float32 rounding an operation. */
#include "gain_gradient.h"
#include "kt/architecture.h"

#if KT_DSP
#include "../convolution/dsp/column_sums.h"
#endif

#if KT_VECTOR
#include "../../product/vector/column_sums.h"
enum { BLOCK = KT_CHANNEL_LANES };
#else
enum { BLOCK = 4 }; /* channels */
#endif

/* sums of the gradients of `count` channels from g on. */
static void sum_columns(const kt_gained_bias_gradient_params *params, const int8_t *g, int32_t count, int32_t sums[BLOCK])
{
#if KT_VECTOR
    kt_column_sums(g, NULL, 0, params->channels, params->positions, count, sums);
#else
    int32_t c, position;
#if KT_DSP
    if (count == BLOCK) {
        kt_column_sums(g, params->channels, params->positions, BLOCK, sums);
        return;
    }
#endif
    for (c = 0; c < count; c++) {
        for (position = 0; position < params->positions; position++) {
            sums[c] += g[position * params->channels + c];
        }
    }
#endif
}

void kt_gained_bias_gradient(const kt_gained_bias_gradient_params *params, const int8_t *g, const int8_t *gain,
                             const int8_t *gain_exponent, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const float step = kt_gain_step(*gain_exponent);
    int32_t first, i;
    for (first = 0; first < params->channels; first += BLOCK) {
        const int32_t count = kt_minimum(params->channels - first, BLOCK);
        int32_t sums[BLOCK] = {0};
        sum_columns(params, g + first, count, sums);
        for (i = 0; i < count; i++) {
            float share = (float)sums[i] * kt_float_gain(gain[first + i], step);
            share = share * scale;
            accumulator[first + i] = accumulator[first + i] + share;
        }
    }
}
