/* merge_rows.h: weights with a merged delta in the layer's own order, one channel after the other. */
#ifndef KT_MERGE_ROWS_H
#define KT_MERGE_ROWS_H

#include "kt/numerics.h"
#include "merging.h"

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

#if KT_MVE
/* Those of four channels of a depthwise layer, all trained and without bounds; fewer at last. */
static inline void kt_merge_columns(const kt_merging_params *params, const int8_t *delta, int32_t exponent, int32_t channel, int32_t size, int8_t *to,
                                    int32_t *offset_sums)
{
    const int32_t count = kt_minimum(params->channels - channel, 4);
    const mve_pred16_t lanes = vctp32q((uint32_t)count);
    const int8_t *w = params->weights + channel, *v = delta + channel;
    int32x4_t factors, sum = vdupq_n_s32(0);
    int32_t factor[4] = {0, 0, 0, 0};
    int32_t at;
    for (at = 0; at < count; at++) {
        factor[at] = kt_merging_factor(params, channel + at, exponent);
    }
    factors = vldrwq_s32(factor);
    for (at = 0; at < size; at++) {
        const int32x4_t change = vrshrq_n_s32(vmulq_s32(vldrbq_z_s32(v, lanes), factors), 16);
        int32x4_t value = vaddq_s32(vldrbq_z_s32(w, lanes), change);
        value = vmaxq_s32(vminq_s32(value, vdupq_n_s32(127)), vdupq_n_s32(params->lowest));
        vstrbq_p_s32(to, value, lanes);
        sum = vaddq_s32(sum, value);
        w += params->channels;
        v += params->trained;
        to += params->channels;
    }
    if (offset_sums != NULL) {
        vstrwq_p_s32(offset_sums + channel, vmulq_n_s32(sum, params->offset), lanes);
    }
}
#endif

/* offset_sums: NULL, or [channels]. */
static inline void kt_merge_rows(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights,
                                 int32_t *offset_sums)
{
    const int32_t size = kt_merging_size(params);
    int32_t c = 0;
#if KT_MVE
    for (; c < params->channels && params->by_column && params->rows == NULL && params->largest == NULL; c += 4) {
        kt_merge_columns(params, delta, *exponent, c, size, weights + c, offset_sums);
    }
#endif
    for (; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        const int32_t sum = params->by_column ? kt_merge_column(params, channel, size, weights + c) : kt_merged_run(&channel, 0, size, weights + c * size);
        if (offset_sums != NULL) {
            offset_sums[c] = params->offset * sum;
        }
    }
}

#endif
