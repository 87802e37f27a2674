/* merged_channels.h: weights of several channels at once, in the layer's own order, for Helium. */
#ifndef KT_MVE_MERGED_CHANNELS_H
#define KT_MVE_MERGED_CHANNELS_H

#include "../merging.h"
#include "kt/numerics.h"

/* Channels that are taken together. */
enum { KT_MERGED_CHANNELS = 8 };

/* Factors and rows of `count` channels from `channel` on. Returns 0 where a factor may reach KT_SHORT_FACTOR. */
static inline int kt_short_factors(const kt_merging_params *params, int32_t exponent, int32_t channel, int32_t count, int16_t *factors, int16_t *rows)
{
    int32_t at;
    for (at = 0; at < count; at += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - at));
        const int32x4_t multiplier = vldrwq_z_s32(params->multiplier + channel + at, lanes);
        const int32x4_t up = vmaxq_s32(vaddq_n_s32(vldrbq_z_s32(params->shift + channel + at, lanes), exponent - 15), vdupq_n_s32(-32));
        int32x4_t factor = vrshlq_s32(multiplier, up), row = vreinterpretq_s32_u32(vidupq_n_u32((uint32_t)(channel + at), 1));
        if (params->rows != NULL) {
            row = vldrhq_z_s32(params->rows + channel + at, lanes);
            factor = vpselq_s32(vdupq_n_s32(0), factor, vcmpltq_n_s32(row, 0));
            row = vmaxq_s32(row, vdupq_n_s32(0));
        }
        if ((vcmpgtq_m_n_s32(up, -8, lanes) | vcmpgeq_m_n_s32(factor, KT_SHORT_FACTOR, lanes)) != 0) {
            return 0;
        }
        vstrhq_s32(factors + at, factor);
        vstrhq_s32(rows + at, row);
    }
    return 1;
}

/* The weights of `count` channels of a depthwise layer; sums [KT_MERGED_CHANNELS]: of them. */
static inline void kt_merge_columns(const kt_merging_params *params, const int8_t *delta, int32_t channel, int32_t count, int32_t size,
                                    const int16_t *factor, const int16_t *row, int8_t *to, int32_t *sums)
{
    const mve_pred16_t lanes = vctp16q((uint32_t)count);
    const int16x8_t factors = vldrhq_z_s16(factor, lanes), highest = vdupq_n_s16(127), lowest = vdupq_n_s16((int16_t)params->lowest);
    const uint16x8_t rows = vreinterpretq_u16_s16(vldrhq_z_s16(row, lanes));
    const int8_t *w = params->weights + channel;
    int16x8_t sum = vdupq_n_s16(0);
    int32_t at;
    to += channel;
    for (at = 0; at < size; at++) {
        const int16x8_t change = vrmulhq_s16(vldrbq_gather_offset_z_s16(delta, rows, lanes), factors);
        const int16x8_t value = vmaxq_s16(vminq_s16(vaddq_s16(vldrbq_z_s16(w, lanes), change), highest), lowest);
        vstrbq_p_s16(to, value, lanes);
        sum = vaddq_s16(sum, value);
        delta += params->trained;
        w += params->channels;
        to += params->channels;
    }
    vstrwq_s32(sums, vmovlbq_s16(sum)); /* even lanes, then odd ones */
    vstrwq_s32(sums + 4, vmovltq_s16(sum));
}

/* The weights of up to eight channels from `channel` on; returns how many it has done: none where a factor is too large, or many taps are summed. */
static inline int32_t kt_merge_channels(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t channel, int32_t size,
                                        int8_t *weights, int32_t *offset_sums)
{
    const int32_t count = kt_minimum(params->channels - channel, KT_MERGED_CHANNELS);
    int16_t factor[KT_MERGED_CHANNELS], row[KT_MERGED_CHANNELS];
    int32_t sums[KT_MERGED_CHANNELS];
    int32_t at;
    if (!kt_short_factors(params, *exponent, channel, count, factor, row)) {
        return 0;
    }
    if (params->by_column) {
        if (size > KT_TAPS_AT_ONCE || params->largest != NULL) {
            return 0;
        }
        kt_merge_columns(params, delta, channel, count, size, factor, row, weights, sums);
    }
    for (at = 0; at < count; at++) {
        int32_t sum;
        if (params->by_column) {
            sum = sums[(at & 1) * 4 + at / 2];
        } else {
            kt_merged_channel one = {params->weights + (channel + at) * size, delta + row[at] * size, factor[at], params->lowest};
            if (params->largest != NULL && !kt_merging_spares(params, channel + at, one.factor)) {
                one = kt_merged_channel_of(params, delta, exponent, channel + at);
            }
            sum = kt_merged_run(&one, 0, size, weights + (channel + at) * size);
        }
        if (offset_sums != NULL) {
            offset_sums[channel + at] = params->offset * sum;
        }
    }
    return count;
}

#endif
