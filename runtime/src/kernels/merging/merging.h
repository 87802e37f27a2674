/* merging.h: one weight of a layer with a merged delta, and what a channel of them needs. */
#ifndef KT_MERGING_H
#define KT_MERGING_H

#include "kt/architecture.h"
#include "kt/kernels/merging.h"

#include <stddef.h>

#if KT_DSP
#include "../dsp/simd.h"
#endif
#if KT_MVE
#include <arm_mve.h>
#endif

#define KT_LARGEST_FACTOR ((1 << 23) - 1)
#define KT_SHORT_FACTOR (1 << 15) /* factors below move no weight by more than 64, and are int16 */

/* w, v: the first weight and the first code of a channel. Without a delta the factor is 0. */
typedef struct {
    const int8_t *w;
    const int8_t *v;
    int32_t factor;
    int32_t lowest;
} kt_merged_channel;

/* |v * factor| < 2^30. */
static inline int32_t kt_merged_value(int32_t w, int32_t v, int32_t factor, int32_t lowest)
{
    const int32_t value = (v * factor + w * 65536 + 32768) >> 16;
    if ((uint32_t)(value - lowest) > (uint32_t)(127 - lowest)) { /* seldom, so that one comparison is cheaper than two */
        return value < 0 ? lowest : 127;
    }
    return value;
}

/* The weight `at` of a convolution's channel. */
static inline int32_t kt_merged(kt_merged_channel channel, int32_t at)
{
    return kt_merged_value(channel.w[at], channel.v[at], channel.factor, channel.lowest);
}

/* The weight of a depthwise layer's channel for a tap. */
static inline int32_t kt_merged_tap(const kt_merging_params *params, kt_merged_channel channel, int32_t tap)
{
    return kt_merged_value(channel.w[tap * params->channels], channel.v[tap * params->trained], channel.factor, channel.lowest);
}

static inline int32_t kt_merged_halves(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xFFFF) | (uint32_t)high << 16);
}

/* Weights that are merged at a time on their way to another order. */
enum { KT_MERGED_BLOCK = 64 };

/* Taps of a depthwise layer whose weights have a sum that is certain to stay in 16 bits. */
enum { KT_TAPS_AT_ONCE = 256 };

/* The weights [at, at + count) of a convolution's channel, one by one; returns their sum. */
static inline int32_t kt_merged_singles(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to)
{
    const int8_t *w = channel->w + at, *v = channel->v + at;
    const int32_t factor = channel->factor, lowest = channel->lowest;
    int32_t sum = 0, i;
    for (i = 0; i < count; i++) {
        const int32_t value = kt_merged_value(w[i], v[i], factor, lowest);
        to[i] = (int8_t)value;
        sum += value;
    }
    return sum;
}

/* The same, several at once on cores with the DSP extension or Helium where the factor is below KT_SHORT_FACTOR. */
int32_t kt_merged_run(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to);

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

/* The sum of `count` magnitudes. */
static inline int32_t kt_magnitudes(const int8_t *values, int32_t count)
{
    int32_t sum = 0;
#if KT_MVE
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8 q0, [%[values]], #16\n\t"
                     "vabav.s8 %[sum], q0, %q[zero]\n\t"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [values] "+r"(values), [sum] "+r"(sum)
                     : [count] "r"(count), [zero] "w"(vdupq_n_s8(0))
                     : "lr", "q0", "memory");
#else
    int32_t at = 0;
#if KT_DSP
    uint32_t sums = 0;
    for (; at + 4 <= count; at += 4) { /* |a| is the distance of a + 128 from 128, of bytes without a sign */
        sums = __usada8(kt_load_word(values + at) ^ UINT32_C(0x80808080), UINT32_C(0x80808080), sums);
    }
    sum = (int32_t)sums;
#endif
    for (; at < count; at++) {
        sum += values[at] < 0 ? -values[at] : values[at];
    }
#endif
    return sum;
}

/* Whether the sum of a convolution's channel is certain to lie within its bound: |W'| <= |W| + |V| f / 2^16 + 1/2. */
static inline int kt_merging_stays(const kt_merged_channel *found, int32_t size, int32_t largest)
{
    const int64_t change = (int64_t)found->factor * kt_magnitudes(found->v, size);
    return kt_magnitudes(found->w, size) + (change >> 16) + size < largest;
}

/* Whether the sum of a channel's magnitudes lies above its bound. */
static inline int kt_merging_leaves(const kt_merging_params *params, const kt_merged_channel *found, int32_t size, int32_t largest)
{
    int32_t sum = 0;
    int32_t at;
    if (!params->by_column && kt_merging_stays(found, size, largest)) {
        return 0;
    }
    for (at = 0; at < size; at++) {
        const int32_t value = params->by_column ? kt_merged_tap(params, *found, at) : kt_merged(*found, at);
        sum += value < 0 ? -value : value;
    }
    return sum > largest;
}

/* Whether the sum of a channel's magnitudes stays within its bound however a factor moves its weights. */
static inline int kt_merging_spares(const kt_merging_params *params, int32_t channel, int32_t factor)
{
    return (128 * factor + 32768) >> 16 <= params->spare[channel];
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
        while (params->largest != NULL && !kt_merging_spares(params, channel, found.factor) &&
               kt_merging_leaves(params, &found, size, params->largest[channel])) {
            found.factor >>= 1;
        }
    }
    return found;
}

/* The words of a channel's requantisation, 0 where it has none. */
static inline int32_t *kt_merged_epilogue(const kt_merging_params *params, int32_t channel, int32_t *to)
{
    int32_t i;
    for (i = 0; i < 3; i++) {
        *to++ = params->epilogue != NULL && channel < params->channels ? params->epilogue[3 * channel + i] : 0;
    }
    return to;
}

#endif
