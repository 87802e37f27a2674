/* merged_channels.h: weights of several channels at once, in the layer's own order, for the DSP extension. */
#ifndef KT_DSP_MERGED_CHANNELS_H
#define KT_DSP_MERGED_CHANNELS_H

#include "merged_quad.h"

/* Channels that are taken together. */
enum { KT_MERGED_CHANNELS = 4 };

/* The weights of up to four channels from `channel` on; returns how many it has done: none but of a depthwise layer, where a factor is not too large
 * and not too many taps are summed. */
static inline int32_t kt_merge_channels(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t channel, int32_t size,
                                        int8_t *weights, int32_t *offset_sums)
{
    uint32_t even = 0, odd = 0;
    int32_t sums[KT_MERGED_CHANNELS];
    int32_t tap;
    kt_merged_quad quad;
    if (!params->by_column || size > KT_TAPS_AT_ONCE || channel + KT_MERGED_CHANNELS > params->channels ||
        !kt_merged_quad_of(params, delta, exponent, channel, &quad)) {
        return 0;
    }
    for (tap = 0; tap < size; tap++) {
        const uint32_t w = kt_merged_taps(&quad, tap);
        kt_store_word(weights + tap * params->channels + channel, w);
        even = kt_add_even(even, w);
        odd = kt_add_odd(odd, w);
    }
    if (offset_sums != NULL) {
        kt_merged_quad_sums(even, odd, sums);
        for (tap = 0; tap < KT_MERGED_CHANNELS; tap++) {
            offset_sums[channel + tap] = params->offset * sums[tap];
        }
    }
    return KT_MERGED_CHANNELS;
}

#endif
