/* kt_gain_gradient for the DSP extension: four channels at once, then one by one. */
#include "../gain_gradient.h"
#include "kt/architecture.h"

#if KT_DSP

#include "../../dsp/column_sums.h"
#include "../../dsp/four_channels.h"

void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                      const int8_t *gain, const int8_t *gain_exponent, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const float step = kt_gain_step(*gain_exponent);
    const int32_t channels = params->channels;
    const uint32_t offset = (uint32_t)params->result_offset & 0xFFFF;
    const kt_rectangle positions = {1, params->positions, channels, channels, 0, 0};
    int32_t c, i;
    for (c = 0; c + 4 <= channels; c += 4) {
        int32_t products[4], sums[4] = {0, 0, 0, 0};
        kt_column_sums(g + c, channels, params->positions, 4, sums);
        kt_sum_four_channels(&positions, g + c, y + c, offset | offset << 16, products);
        for (i = 0; i < 4; i++) {
            accumulator[c + i] = kt_accumulate_gain(params, accumulator[c + i], products[i], sums[i], bias[c + i],
                                                    kt_float_gain(gain[c + i], step), scale, c + i);
        }
    }
    kt_gain_gradient_of(params, g, y, bias, gain, step, scale, accumulator, c, channels);
}

#endif
