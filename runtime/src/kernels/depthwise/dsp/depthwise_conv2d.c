/* kt_depthwise_conv2d_s8 for the DSP extension: four channels at once, for layers of which nothing is proved. */
#include "../depthwise_conv2d.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "taps.h"

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, int8_t *y)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const uint32_t added = (uint16_t)params->input_offset * UINT32_C(0x00010001);
    const kt_rectangle taps = kt_taps_of(&params->window, patch);
    int32_t c = 0;
    if (params->depth_multiplier != 1) {
        kt_depthwise_position(params, patch, x, bias, y);
        return;
    }
    for (; c + 4 <= channels; c += 4) {
        int32_t sums[4];
        int32_t i;
        kt_sum_four_channels(&taps, params->weights + (patch->tap * channels + c), x + (patch->x + c), added, sums);
        for (i = 0; i < 4; i++) {
            y[c + i] = kt_depthwise_result(params, __qadd(sums[i], bias[c + i]), c + i);
        }
    }
    for (; c < channels; c++) {
        const int32_t sum =
            kt_depthwise_sum(&params->window, patch, x + (patch->x + c), params->weights + c, channels, params->input_offset);
        y[c] = kt_depthwise_result(params, __qadd(sum, bias[c]), c);
    }
}

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_depthwise_walk(params, x, bias, y, position);
}

#endif
