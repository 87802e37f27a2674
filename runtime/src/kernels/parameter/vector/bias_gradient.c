/* Gradient of a bias: the sums of as many channels as a vector has lanes at once. */
#include "../bias_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/column_sums.h"

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    int32_t sums[KT_CHANNEL_LANES];
    int32_t c, i;
    for (c = 0; c < params->channels; c += KT_CHANNEL_LANES) {
        const int32_t count = kt_minimum(params->channels - c, KT_CHANNEL_LANES);
        kt_column_sums(g + c, NULL, 0, params->channels, params->positions, count, sums);
        for (i = 0; i < count; i++) {
            accumulator[c + i] = kt_accumulate(accumulator[c + i], sums[i], scale);
        }
    }
}

#endif
