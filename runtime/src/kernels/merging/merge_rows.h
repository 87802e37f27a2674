/* merge_rows.h: weights with a merged delta in the layer's own order, one channel after the other. */
#ifndef KT_MERGE_ROWS_H
#define KT_MERGE_ROWS_H

#include "merging.h"

#if KT_MVE
#include <arm_mve.h>
#endif

/* The weights of a convolution's channel; returns their sum. */
static inline int32_t kt_merge_row(kt_merged_channel channel, int32_t size, int8_t *to)
{
    int32_t sum = 0;
    int32_t at = 0;
#if KT_MVE
    for (; at < size; at += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(size - at));
        const int32x4_t w = vaddq_n_s32(vshlq_n_s32(vldrbq_z_s32(channel.w + at, lanes), 16), 32768);
        int32x4_t value = vshrq_n_s32(vmlaq_n_s32(w, vldrbq_z_s32(channel.v + at, lanes), channel.factor), 16);
        value = vmaxq_s32(vminq_s32(value, vdupq_n_s32(127)), vdupq_n_s32(channel.lowest));
        vstrbq_p_s32(to + at, value, lanes);
        sum = vaddvaq_p_s32(sum, value, lanes);
    }
#else
    for (; at < size; at++) {
        const int32_t value = kt_merged(channel, at);
        to[at] = (int8_t)value;
        sum += value;
    }
#endif
    return sum;
}

/* Those of a depthwise layer's channel. */
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
    int32_t c;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        const int32_t sum = params->by_column ? kt_merge_column(params, channel, size, weights + c) : kt_merge_row(channel, size, weights + c * size);
        if (offset_sums != NULL) {
            offset_sums[c] = params->offset * sum;
        }
    }
}

#endif
