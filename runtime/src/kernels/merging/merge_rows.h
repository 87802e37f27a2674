/* merge_rows.h: weights with a merged delta in the layer's own order, one channel after the other. */
#ifndef KT_MERGE_ROWS_H
#define KT_MERGE_ROWS_H

#include "merging.h"

/* offset_sums: NULL, or [channels]. */
static inline void kt_merge_rows(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights,
                                 int32_t *offset_sums)
{
    const int32_t size = kt_merging_size(params);
    int32_t c, at;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        int32_t sum = 0;
        for (at = 0; at < size && params->by_column; at++) {
            const int32_t value = kt_merged_tap(params, &channel, at);
            weights[at * params->channels + c] = (int8_t)value;
            sum += value;
        }
        for (; at < size; at++) {
            const int32_t value = kt_merged(&channel, at);
            weights[c * size + at] = (int8_t)value;
            sum += value;
        }
        if (offset_sums != NULL) {
            offset_sums[c] = params->offset * sum;
        }
    }
}

#endif
