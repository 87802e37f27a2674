/* position.h: all channels of one position of a depthwise convolution in vectors: neighbouring taps of a kernel row in pairs. */
#ifndef KT_VECTOR_DEPTHWISE_POSITION_H
#define KT_VECTOR_DEPTHWISE_POSITION_H

#include "../../../product/vector/channels.h"
#include "../depthwise_conv2d.h"

/* Of a tap, NULL where it does not exist: values of `count` channels, or the one value that all of them read. */
KT_INLINE kt_lanes kt_tap_values(const int8_t *x, int32_t count, int one, kt_lanes offset)
{
    const kt_short_lanes none = (kt_short_lanes)kt_no_lanes();
    if (x == NULL) {
        return kt_no_lanes();
    }
    return one ? (kt_lanes)(none + (int16_t)*x + (kt_short_lanes)offset) : kt_with_offset(x, count, offset);
}

/* The sums of one patch; one: the input has one channel. w: of the first tap, `step` from tap to tap. */
KT_INLINE kt_channel_words kt_patch_channels(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x, const int8_t *w,
                                             int32_t step, int32_t count, int one, kt_lanes offset)
{
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t step_x = window->dilation[KT_X] * depth, row_x = window->dilation[KT_Y] * window->input[KT_X] * depth;
    const kt_lanes none = kt_no_lanes();
    kt_channel_words sums = {none, none};
    int32_t ky, kx;
    for (ky = 0; ky < patch->rows; ky++) {
        const int8_t *at = x + ky * row_x, *weights = w + (patch->tap + ky * window->kernel[KT_X]) * step;
        for (kx = 0; kx < patch->columns; kx += 2, at += 2 * step_x, weights += 2 * step) {
            const int both = kx + 1 < patch->columns;
            const kt_channel_words values = kt_interleave(kt_tap_values(at, count, one, offset),
                                                          kt_tap_values(both ? at + step_x : NULL, count, one, offset));
            const kt_channel_words codes = kt_interleave(kt_widen_some(weights, count), both ? kt_widen_some(weights + step, count) : none);
            kt_add_products_of(&sums, &values, &codes);
        }
    }
    return sums;
}

/* `count` channels from c on. */
KT_INLINE void kt_depthwise_channels(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                                     const int32_t *bias, int8_t *y, int32_t c, int32_t count)
{
    const kt_window *const window = &params->window;
    const int one = window->input[KT_CHANNELS] == 1;
    const int32_t channels = window->output[KT_CHANNELS];
    const kt_lanes offset = kt_shorts_of((int16_t)params->input_offset);
    const int8_t *const values = x + patch->x + (one ? 0 : c);
    kt_channel_words sums = kt_patch_channels(window, patch, values, params->weights + c, channels, count, one, offset);
    sums = kt_add_saturated_channels(sums, kt_load_channels_of(bias + c, count));
    sums = kt_requantize_channels(sums, kt_load_channels_of(params->multiplier + c, count), kt_load_codes_of(params->shift + c, count));
    sums = kt_clamp_channels(sums, params->clamp[0] - params->output_offset, params->clamp[1] - params->output_offset);
    kt_store_channels(y + c, kt_add_to_channels(sums, params->output_offset), count);
}

static inline void kt_vector_position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                                      const int32_t *bias, int8_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c;
    for (c = 0; c + KT_CHANNEL_LANES <= channels; c += KT_CHANNEL_LANES) {
        kt_depthwise_channels(params, patch, x, bias, y, c, KT_CHANNEL_LANES);
    }
    if (c < channels) {
        kt_depthwise_channels(params, patch, x, bias, y, c, channels - c);
    }
}

/* Where each channel reads its own values, or all of them the same, by the function above. */
static inline void kt_vector_walk(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    const int vectors = params->depth_multiplier == 1 || params->window.input[KT_CHANNELS] == 1;
    kt_depthwise_walk(params, x, bias, y, vectors ? kt_vector_position : kt_depthwise_position);
}

#endif
