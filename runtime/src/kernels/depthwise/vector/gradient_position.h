/* gradient_position.h: the gradient of a depthwise convolution to all channels of one input position, in vectors.
 *
 * Results stand in the scratch until all channels are read: they may lie over the gradient. */
#ifndef KT_VECTOR_GRADIENT_POSITION_H
#define KT_VECTOR_GRADIENT_POSITION_H

#include "../../../product/vector/prescale.h"
#include "../depthwise_input_gradient.h"

enum { KT_MEETINGS = 128 };

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

/* Where the windows that cover a position have it: meetings, and room for what the walk leaves behind the last. */
typedef struct {
    int32_t count;
    kt_meeting met[KT_MEETINGS + 1];
} kt_meetings;

static inline void kt_find_meetings(const kt_window *window, int32_t y, int32_t x, kt_meetings *meetings)
{
    kt_meeting_walk walk = kt_meetings_of(y, x);
    meetings->count = 0;
    while (kt_next_meeting(window, &walk, &meetings->met[meetings->count])) {
        meetings->count++;
    }
}

/* `count` channels from k on of the position with these meetings, two of them at a time. */
KT_INLINE void kt_gradient_channels(const kt_depthwise_input_gradient_params *params, const int8_t *g, const kt_meetings *meetings, int32_t k,
                                    int32_t count, int8_t *result)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const kt_channel_words prescale = kt_load_shorts_of(params->prescale + k, count);
    const kt_lanes none = kt_no_lanes();
    kt_channel_words sums = {none, none};
    int32_t i;
    for (i = 0; i < meetings->count; i += 2) {
        kt_lanes scaled[2] = {none, none}, weights[2] = {none, none};
        kt_channel_words values, codes;
        int32_t j;
        for (j = 0; j < 2 && i + j < meetings->count; j++) {
            const kt_meeting *const met = &meetings->met[i + j];
            scaled[j] = kt_prescaled_channels(g + met->position * channels + k, prescale, params->prescale_shift, count);
            weights[j] = kt_widen_some(params->weights + met->tap * channels + k, count);
        }
        values = kt_interleave(scaled[0], scaled[1]);
        codes = kt_interleave(weights[0], weights[1]);
        kt_add_products_of(&sums, &values, &codes);
    }
    kt_store_channels(result + k, kt_round_channels(sums, params->shift), count);
}

/* Every position of a kernel of up to KT_MEETINGS taps. scratch: a byte for each channel. */
static inline void kt_vector_gradient_walk(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                           int8_t *dx, int8_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t direction = kt_direction(g, dx);
    kt_meetings meetings;
    int32_t y, x, k;
    for (y = kt_first(direction, height); kt_within(y, height); y += direction) {
        for (x = kt_first(direction, width); kt_within(x, width); x += direction) {
            kt_find_meetings(window, y, x, &meetings);
            for (k = 0; k + KT_CHANNEL_LANES <= channels; k += KT_CHANNEL_LANES) {
                kt_gradient_channels(params, g, &meetings, k, KT_CHANNEL_LANES, scratch);
            }
            if (k < channels) {
                kt_gradient_channels(params, g, &meetings, k, channels - k, scratch);
            }
            memcpy(dx + (y * width + x) * channels, scratch, (size_t)channels);
        }
    }
}

#endif
