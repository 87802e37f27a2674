/* merged_quad.h: weights of four channels of a depthwise layer at once, for the DSP extension. */
#ifndef KT_MERGED_QUAD_H
#define KT_MERGED_QUAD_H

#include "../merging.h"

/* w, v: of the first channel and tap; w_step, v_step: from one tap to the next. v_of: of each channel, where they do not lie side by side.
 * even, odd: the factors of the first and third channel, and of the others. taken: 1 where the least weight is -127, else 0. */
typedef struct {
    const int8_t *w;
    const int8_t *v_of[4];
    int32_t w_step;
    int32_t v_step;
    int32_t beside;
    uint32_t even;
    uint32_t odd;
    int32_t taken;
} kt_merged_quad;

/* Whether four channels can be taken at once: none of their factors reaches KT_SHORT_FACTOR. */
static inline int kt_merged_quad_of(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t channel, kt_merged_quad *found)
{
    int32_t factors = 0, i;
    int32_t factor[4];
    for (i = 0; i < 4; i++) {
        const kt_merged_channel one = kt_merged_channel_of(params, delta, exponent, channel + i);
        found->v_of[i] = one.v;
        factor[i] = one.factor;
        factors |= one.factor;
    }
    found->w = params->weights + channel;
    found->w_step = params->channels;
    found->v_step = params->trained;
    found->beside = params->rows == NULL;
    found->even = (uint32_t)kt_merged_halves(factor[0], factor[2]);
    found->odd = (uint32_t)kt_merged_halves(factor[1], factor[3]);
    found->taken = params->lowest == -127;
    return factors < KT_SHORT_FACTOR;
}

/* The weights of a tap, a byte of each channel. A byte is limited to [-128, 127] by the sum; where -127 is the least, 1
 * is taken from it first and given back behind. */
static inline uint32_t kt_merged_taps(const kt_merged_quad *quad, int32_t tap)
{
    const int32_t half = 32768 - 65536 * quad->taken, at = tap * quad->v_step;
    uint32_t v, even, odd;
    if (quad->beside) {
        v = kt_load_word(quad->v_of[0] + at);
    } else {
        v = kt_bytes(quad->v_of[0][at], quad->v_of[1][at], quad->v_of[2][at], quad->v_of[3][at]);
    }
    even = kt_even(v);
    odd = kt_odd(v);
    even = kt_high_halves((uint32_t)__smlabb((int32_t)even, (int32_t)quad->even, half), (uint32_t)__smlatt((int32_t)even, (int32_t)quad->even, half));
    odd = kt_high_halves((uint32_t)__smlabb((int32_t)odd, (int32_t)quad->odd, half), (uint32_t)__smlatt((int32_t)odd, (int32_t)quad->odd, half));
    v = (even & 0x00FF00FF) | (odd & 0x00FF00FF) << 8;
    v = (uint32_t)__qadd8((int8x4_t)v, (int8x4_t)kt_load_word(quad->w + tap * quad->w_step));
    return (uint32_t)__qadd8((int8x4_t)v, (int8x4_t)kt_four(quad->taken));
}

/* Sums of each channel, of {first, third} and {second, fourth}. */
static inline void kt_merged_quad_sums(uint32_t even, uint32_t odd, int32_t *sums)
{
    sums[0] = (int16_t)even;
    sums[1] = (int16_t)odd;
    sums[2] = (int32_t)even >> 16;
    sums[3] = (int32_t)odd >> 16;
}

#endif
