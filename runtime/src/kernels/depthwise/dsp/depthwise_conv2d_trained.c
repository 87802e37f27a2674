/* kt_depthwise_conv2d_trained_s8 for the DSP extension: four channels at once. Where only some channels have a delta its sums are taken one by
 * one. */
#include "../depthwise_conv2d.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "taps.h"

enum {
    MOST_TAPS = 1 << 15, /* of products of codes whose doubled sum is an int32 */
    LARGEST_SHIFT = 16   /* as in packed_convolution/dsp/packed_sums.h */
};

/* From the sums of four channels and of their deltas to results; the usual shifts as in packed_convolution/dsp/packed_sums.h. */
static __attribute__((noinline)) void finish(const kt_depthwise_conv2d_params *params, const kt_depthwise_trained *trained, const int32_t *bias,
                                             int32_t c, const int32_t sums[4], const int32_t products[4], int8_t *y)
{
    const int32_t low = params->clamp[0], high = params->clamp[1], twice_offset = 2 * params->output_offset + 1;
    const int32_t exponent = trained->exponent;
    const int usual = params->window.kernel[KT_Y] * params->window.kernel[KT_X] <= MOST_TAPS;
    int32_t i;
    for (i = 0; i < 4; i++, c++) {
        const int32_t down = -(params->addend_shift[c] + exponent), end = -params->shift[c], multiplier = params->multiplier[c];
        int32_t addend, total;
        if ((uint32_t)(down - 1) < 31 && usual) {
            const int32_t twice = 2 * products[i];
            addend = (kt_add_high_product(twice, params->addend_multiplier[c], (int32_t)(UINT32_C(1) << (down - 1))) + (twice >> 31)) >> down;
        } else {
            addend = kt_clamp(kt_requantize(products[i], params->addend_multiplier[c], -down), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
        }
        total = __qadd(sums[i] + addend, bias[c]);
        if ((uint32_t)(end - 1) < LARGEST_SHIFT) {
            const int32_t twice = __qadd(total, total);
            const int32_t added = (int32_t)((uint32_t)twice_offset << (end - 1)); /* offset * 2^n + 2^(n-1) */
            y[i] = (int8_t)kt_clamp((kt_add_high_product(twice, multiplier, added) + (twice >> 31)) >> end, low, high);
        } else {
            y[i] = kt_depthwise_result(params, total, c);
        }
    }
}

/* Sums of the deltas of four channels of which only some have one. */
static void sum_some(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *delta, const int8_t *x, int32_t c,
                     int32_t products[4])
{
    int32_t i;
    for (i = 0; i < 4; i++) {
        const int32_t column = params->rows[c + i];
        products[i] = column < 0 ? 0 : kt_depthwise_sum(&params->window, patch, x + i, delta + column, params->columns, params->input_offset);
    }
}

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, const kt_depthwise_trained *trained, int8_t *y)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const uint32_t added = (uint16_t)params->input_offset * UINT32_C(0x00010001);
    const kt_rectangle taps = kt_taps_of(&params->window, patch);
    int32_t c;
    for (c = 0; c < channels; c += 4) {
        const int8_t *const values = x + (patch->x + c);
        int32_t sums[4], products[4];
        kt_sum_four_channels(&taps, params->weights + (patch->tap * channels + c), values, added, sums);
        if (params->rows == NULL) {
            kt_sum_four_channels(&taps, trained->delta + (patch->tap * channels + c), values, added, products);
        } else {
            sum_some(params, patch, trained->delta, values, c, products);
        }
        finish(params, trained, bias, c, sums, products, y + c);
    }
}

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, int8_t *y)
{
    const int fours = params->depth_multiplier == 1 && params->window.input[KT_CHANNELS] % 4 == 0;
    kt_depthwise_trained trained;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    if (fours) {
        kt_depthwise_walk(params, x, bias, &trained, y, position);
    } else {
        kt_depthwise_walk(params, x, bias, &trained, y, kt_depthwise_position);
    }
}

#endif
