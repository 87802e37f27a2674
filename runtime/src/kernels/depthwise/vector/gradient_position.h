/* gradient_position.h: the gradient of a depthwise convolution to all channels of one input position, in vectors.
 *
 * Results stand in the scratch until all channels are read: they may lie over the gradient. */
#ifndef KT_VECTOR_GRADIENT_POSITION_H
#define KT_VECTOR_GRADIENT_POSITION_H

#include "../../../product/vector/channels.h"
#include "../depthwise_input_gradient.h"

/* (g * m + half) >> p, in shorts. */
KT_INLINE kt_lanes kt_prescaled_channels(const int8_t *g, kt_channel_words m, int32_t p, int32_t count)
{
    const kt_channel_words w = kt_words_of(kt_widen_some(g, count));
    const int32_t half = (int32_t)(UINT32_C(1) << (p - 1));
    const kt_channel_words scaled = {(kt_lanes)(((kt_word_lanes)w.low * (kt_word_lanes)m.low + half) >> p),
                                     (kt_lanes)(((kt_word_lanes)w.high * (kt_word_lanes)m.high + half) >> p)};
    return kt_pack_shorts(scaled);
}

/* saturate8(shift_round(sums, shift)) */
KT_INLINE kt_channel_words kt_round_channels(kt_channel_words sums, int32_t shift)
{
    int32_t words[KT_CHANNEL_LANES];
    int32_t i;
    if (shift > 0 && shift < 32) {
        const kt_word_lanes low = (kt_word_lanes)sums.low, high = (kt_word_lanes)sums.high;
        const kt_channel_words rounded = {(kt_lanes)((low >> shift) + ((low >> (shift - 1)) & 1)),
                                          (kt_lanes)((high >> shift) + ((high >> (shift - 1)) & 1))};
        return kt_clamp_channels(rounded, -127, 127);
    }
    kt_store_channel_words(words, sums);
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        words[i] = kt_saturate8(kt_shift_round(words[i], shift));
    }
    return kt_load_channels(words);
}

/* `count` channels from k on of the position (y, x). */
KT_INLINE void kt_gradient_channels(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int32_t y, int32_t x, int32_t k, int32_t count, int8_t *result)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const kt_channel_words prescale = kt_load_shorts_of(params->prescale + k, count);
    const kt_lanes none = kt_no_lanes();
    kt_channel_words sums = {none, none};
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int32_t at = meeting.position * channels + k, tap = meeting.tap * channels + k;
        const kt_channel_words scaled = kt_interleave(kt_prescaled_channels(g + at, prescale, params->prescale_shift, count), none);
        const kt_channel_words weights = kt_interleave(kt_widen_some(params->weights + tap, count), none);
        kt_add_products_of(&sums, &scaled, &weights);
    }
    kt_store_channels(result + k, kt_round_channels(sums, params->shift), count);
}

/* Every position. scratch: a byte for each channel. */
static inline void kt_vector_gradient_walk(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                           int8_t *dx, int8_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, k;
    for (y = kt_first(direction, height); kt_within(y, height); y += direction) {
        for (x = kt_first(direction, width); kt_within(x, width); x += direction) {
            for (k = 0; k + KT_CHANNEL_LANES <= channels; k += KT_CHANNEL_LANES) {
                kt_gradient_channels(params, g, y, x, k, KT_CHANNEL_LANES, scratch);
            }
            if (k < channels) {
                kt_gradient_channels(params, g, y, x, k, channels - k, scratch);
            }
            memcpy(dx + (y * width + x) * channels, scratch, (size_t)channels);
        }
    }
}

#endif
