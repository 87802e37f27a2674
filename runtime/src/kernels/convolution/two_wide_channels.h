/* two_wide_channels.h: layers of int16 activations that sum two channels at once. The file that includes this defines kt_add_span:
 *
 *     static inline void kt_add_span(int64_t *first_sum, int64_t *second_sum, const int16_t *x, const int8_t *first, const int8_t *second,
 *                                    int32_t n);
 */
#ifndef KT_TWO_WIDE_CHANNELS_H
#define KT_TWO_WIDE_CHANNELS_H

#include "conv2d_s16.h"

/* The last of an odd number of channels is computed twice. */
static void kt_wide_position(const kt_conv2d_params *params, const kt_wide_bias *bias, const kt_patch *patch,
                             const int16_t *x, int32_t size, int16_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c, row, span;
    for (c = 0; c < channels; c += 2) {
        const int32_t next = c + 1 < channels ? size : 0;
        int64_t a = 0, b = 0;
        for (row = 0; row < patch->rows; row++) {
            for (span = 0; span < patch->spans; span++) {
                const int16_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
                const int8_t *const weights =
                    params->weights + c * size + (patch->w + row * patch->row_w + span * patch->span_w);
                kt_add_span(&a, &b, values, weights, weights + next, patch->length);
            }
        }
        y[c] = kt_wide_result(params, bias, c, a);
        if (next > 0) {
            y[c + 1] = kt_wide_result(params, bias, c + 1, b);
        }
    }
}

void kt_conv2d_s16(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y)
{
    const kt_wide_bias values = {bias, NULL};
    kt_wide_walk(params, x, values, y);
}

void kt_conv2d_s16_bias32(const kt_conv2d_params *params, const int16_t *x, const int32_t *bias, int16_t *y)
{
    const kt_wide_bias values = {NULL, bias};
    kt_wide_walk(params, x, values, y);
}

#endif
