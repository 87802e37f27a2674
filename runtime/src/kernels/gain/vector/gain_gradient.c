/* Gradient of a trained gain: the sums of as many channels as a vector has lanes at once. */
#include "../gain_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/column_sums.h"

void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int8_t *gain,
                      const int8_t *gain_exponent, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent), step = kt_gain_step(*gain_exponent);
    int32_t sums[KT_CHANNEL_LANES];
    int32_t c, i;
    for (c = 0; c < params->channels; c += KT_CHANNEL_LANES) {
        const int32_t count = kt_minimum(params->channels - c, KT_CHANNEL_LANES);
        kt_column_sums(g + c, y + c, params->result_offset, params->channels, params->positions, count, sums);
        for (i = 0; i < count; i++) {
            float *const entry = accumulator + c + i;
            *entry = kt_accumulate_gain(*entry, sums[i], params->result_scale, kt_float_gain(gain[c + i], step), scale);
        }
    }
}

#endif
