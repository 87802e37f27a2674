/* merge_rows.h: weights with a merged delta in the layer's own order, one channel after the other. */
#ifndef KT_MERGE_ROWS_H
#define KT_MERGE_ROWS_H

#include "merging.h"

#if KT_MVE
#include "mve/merged_channels.h"
#elif KT_DSP
#include "dsp/merged_channels.h"
#endif

/* The weights of a depthwise layer's channel; returns their sum. */
static inline int32_t kt_merge_column(const kt_merging_params *params, kt_merged_channel channel, int32_t size, int8_t *to)
{
    int32_t sum = 0;
    int32_t at;
    for (at = 0; at < size; at++) {
        const int32_t value = kt_merged_tap(params, channel, at);
        *to = (int8_t)value;
        to += params->channels;
        sum += value;
    }
    return sum;
}

/* offset_sums: NULL, or [channels]. */
static inline void kt_merge_rows(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights,
                                 int32_t *offset_sums)
{
    const int32_t size = kt_merging_size(params);
    int32_t c = 0;
    while (c < params->channels) {
        kt_merged_channel channel;
        int32_t sum;
#if KT_DSP
        const int32_t done = c % KT_MERGED_CHANNELS == 0 ? kt_merge_channels(params, delta, exponent, c, size, weights, offset_sums) : 0;
        if (done > 0) {
            c += done;
            continue;
        }
#endif
        channel = kt_merged_channel_of(params, delta, exponent, c);
        sum = params->by_column ? kt_merge_column(params, channel, size, weights + c) : kt_merged_run(&channel, 0, size, weights + c * size);
        if (offset_sums != NULL) {
            offset_sums[c] = params->offset * sum;
        }
        c++;
    }
}

#endif
