/* merging.h: one weight of a layer with a merged delta, and what a channel of them needs. */
#ifndef KT_MERGING_H
#define KT_MERGING_H

#include "kt/kernels/merging.h"

#include <stddef.h>

#define KT_LARGEST_FACTOR ((1 << 23) - 1)

/* w, v: the first weight and the first code of a channel. Without a delta the factor is 0. */
typedef struct {
    const int8_t *w;
    const int8_t *v;
    int32_t factor;
    int32_t lowest;
} kt_merged_channel;

/* |v * factor| < 2^30. The limits of a byte first: an instruction of many cores. */
static inline int32_t kt_merged_value(int32_t w, int32_t v, int32_t factor, int32_t lowest)
{
    const int32_t value = (v * factor + w * 65536 + 32768) >> 16;
    const int32_t byte = value > 127 ? 127 : value < -128 ? -128 : value;
    return byte < lowest ? lowest : byte;
}

/* The weight `at` of a convolution's channel. */
static inline int32_t kt_merged(const kt_merged_channel *channel, int32_t at)
{
    return kt_merged_value(channel->w[at], channel->v[at], channel->factor, channel->lowest);
}

/* The weight of a depthwise layer's channel for a tap. */
static inline int32_t kt_merged_tap(const kt_merging_params *params, const kt_merged_channel *channel, int32_t tap)
{
    return kt_merged_value(channel->w[tap * params->channels], channel->v[tap * params->trained], channel->factor, channel->lowest);
}

/* Values of a channel. */
static inline int32_t kt_merging_size(const kt_merging_params *params)
{
    return params->kernel[0] * params->kernel[1] * (params->by_column ? 1 : params->depth);
}

static inline int32_t kt_merging_factor(const kt_merging_params *params, int32_t channel, int32_t exponent)
{
    const int32_t multiplier = params->multiplier[channel];
    const int32_t down = 15 - params->shift[channel] - exponent;
    int32_t factor;
    if (multiplier == 0 || down > 31) {
        return 0;
    }
    if (down < 8) {
        return KT_LARGEST_FACTOR;
    }
    factor = (int32_t)(((uint32_t)multiplier + (UINT32_C(1) << (down - 1))) >> down);
    return factor < KT_LARGEST_FACTOR ? factor : KT_LARGEST_FACTOR;
}

/* Whether the sum of a channel's magnitudes lies above its bound. */
static inline int kt_merging_leaves(const kt_merging_params *params, const kt_merged_channel *found, int32_t size, int32_t largest)
{
    int32_t sum = 0;
    int32_t at;
    for (at = 0; at < size; at++) {
        const int32_t value = params->by_column ? kt_merged_tap(params, found, at) : kt_merged(found, at);
        sum += value < 0 ? -value : value;
    }
    return sum > largest;
}

static inline kt_merged_channel kt_merged_channel_of(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent,
                                                     int32_t channel)
{
    const int32_t size = kt_merging_size(params);
    const int32_t apart = params->by_column ? 1 : size;
    const int32_t row = params->rows == NULL ? channel : params->rows[channel];
    kt_merged_channel found;
    found.w = params->weights + channel * apart;
    found.v = found.w;
    found.factor = 0;
    found.lowest = params->lowest;
    if (row >= 0) {
        found.v = delta + row * apart;
        found.factor = kt_merging_factor(params, channel, *exponent);
        while (params->largest != NULL && kt_merging_leaves(params, &found, size, params->largest[channel])) {
            found.factor >>= 1;
        }
    }
    return found;
}

/* The words of a channel's requantisation, 0 for one that is none. */
static inline int32_t *kt_merged_epilogue(const kt_merging_params *params, int32_t channel, int32_t *to)
{
    int32_t i;
    for (i = 0; i < 3; i++) {
        *to++ = channel < params->channels ? params->epilogue[3 * channel + i] : 0;
    }
    return to;
}

static inline int32_t kt_merged_halves(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xFFFF) | (uint32_t)high << 16);
}

#endif
