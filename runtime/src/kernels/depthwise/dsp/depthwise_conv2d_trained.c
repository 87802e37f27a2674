/* kt_depthwise_conv2d_trained_s8 for the DSP extension: four channels at once. Where only some channels have a delta its sums are taken one by
 * one. */
#include "../depthwise_conv2d.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "taps.h"

/* kt_depthwise_addend of a sum; the usual shifts leave no more than its limit. */
static inline int32_t addend_of(const kt_depthwise_conv2d_params *params, int32_t sum, int32_t exponent, int32_t c)
{
    const int32_t down = -(params->addend_shift[c] + exponent);
    if ((uint32_t)(down - 1) < 31) {
        return kt_requantize_right(sum, params->addend_multiplier[c], down);
    }
    return kt_clamp(kt_requantize(sum, params->addend_multiplier[c], -down), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

static inline int8_t result_of(const kt_depthwise_conv2d_params *params, int32_t total, const kt_gain *gain, int32_t c)
{
    const int32_t down = -params->shift[c];
    if ((uint32_t)(down - 1) < 31 && gain->codes == NULL) {
        return kt_clamp_with_offset(kt_requantize_right(total, params->multiplier[c], down), params->output_offset, params->clamp[0],
                                    params->clamp[1]);
    }
    return kt_depthwise_result(params, total, gain, c);
}

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, const kt_depthwise_trained *trained, int8_t *y)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const uint32_t added = (uint16_t)params->input_offset * UINT32_C(0x00010001);
    const kt_rectangle taps = kt_taps_of(&params->window, patch);
    int32_t c, i;
    for (c = 0; c < channels; c += 4) {
        const int8_t *const values = x + (patch->x + c);
        int32_t sums[4], addends[4];
        kt_sum_four_channels(&taps, params->weights + (patch->tap * channels + c), values, added, sums);
        if (params->rows == NULL) {
            kt_sum_four_channels(&taps, trained->delta + (patch->tap * channels + c), values, added, addends);
            for (i = 0; i < 4; i++) {
                addends[i] = addend_of(params, addends[i], trained->exponent, c + i);
            }
        } else {
            for (i = 0; i < 4; i++) {
                addends[i] = kt_depthwise_addend(params, patch, trained, values + i, c + i);
            }
        }
        for (i = 0; i < 4; i++) {
            const int32_t total = kt_saturate32((int64_t)sums[i] + addends[i] + bias[c + i]);
            y[c + i] = result_of(params, total, &trained->gain, c + i);
        }
    }
}

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y)
{
    const int fours = params->depth_multiplier == 1 && params->window.input[KT_CHANNELS] % 4 == 0;
    kt_depthwise_trained trained;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    trained.gain = kt_gain_of(gain, gain_exponent);
    kt_depthwise_walk(params, x, bias, &trained, y, fours ? position : kt_depthwise_position);
}

#endif
