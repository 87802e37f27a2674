/* kt_depthwise_conv2d_s8 for the DSP extension: four channels at once, for layers of which nothing is proved. */
#include "../depthwise_conv2d.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "simd.h"

/* kt_depthwise_sum of four neighbouring channels, each of one input channel. added: the offset, twice. */
static inline void four_sums(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x, const int8_t *w,
                             uint32_t added, int32_t sums[4])
{
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t step_x = window->dilation[KT_X] * channels;
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * channels - patch->columns * step_x;
    const int32_t row_w = (window->kernel[KT_X] - patch->columns) * channels;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t ky, kx;
    w += patch->tap * channels;
    for (ky = patch->rows; ky > 0; ky--, x += row_x, w += row_w) {
        for (kx = patch->columns; kx > 0; kx--, x += step_x, w += channels) {
            const uint32_t values = kt_load_word(x), weights = kt_load_word(w);
            const int16x2_t x02 = (int16x2_t)kt_add_even(added, values), x13 = (int16x2_t)kt_add_odd(added, values);
            const int16x2_t w02 = (int16x2_t)kt_even(weights), w13 = (int16x2_t)kt_odd(weights);
            sum0 = __smlabb(w02, x02, sum0);
            sum1 = __smlabb(w13, x13, sum1);
            sum2 = __smlatt(w02, x02, sum2);
            sum3 = __smlatt(w13, x13, sum3);
        }
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, const kt_depthwise_trained *trained, int8_t *y)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const uint32_t added = (uint16_t)params->input_offset * UINT32_C(0x00010001);
    int32_t c = 0;
    if (params->depth_multiplier != 1) {
        kt_depthwise_position(params, patch, x, bias, trained, y);
        return;
    }
    for (; c + 4 <= channels; c += 4) {
        int32_t sums[4];
        int32_t i;
        four_sums(&params->window, patch, x + (patch->x + c), params->weights + c, added, sums);
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
    kt_depthwise_walk(params, x, bias, NULL, y, position);
}

#endif
