/* gained_lanes.h: multipliers, shifts and biases with their gains, the bits of ../gain.h, four channels at a time. */
#ifndef KT_GAINED_LANES_H
#define KT_GAINED_LANES_H

#include "../../mve/lanes.h"

/* kt_gain_factor on lanes. VRSHL shifts left or right, as the exponent has it, up to 105 places. */
static inline int32x4_t kt_gain_factors(int32x4_t codes, int32_t exponent)
{
    const int32_t one = INT32_C(1) << KT_GAIN_BITS, left = kt_minimum(exponent, 0) + KT_GAIN_BITS;
    const int32x4_t factor = vaddq_n_s32(vrshlq_n_s32(codes, left), one);
    return vminq_s32(vmaxq_s32(factor, vdupq_n_s32(one / 8)), vdupq_n_s32(2 * one));
}

/* A step of Newton towards y, half of 1 / d, both of 2^31: y (2 - 2 d y) = 2 (y - y d y). */
static inline int32x4_t kt_nearer_inverse(int32x4_t y, int32x4_t d)
{
    return vqshlq_n_s32(vsubq_s32(y, vqrdmulhq_s32(y, vqrdmulhq_s32(d, y))), 1);
}

/* 2^47 / factor, rounded down, of a factor in [2^20, 2^24]: d of 2^31 in [1/2, 1) without its leading zeros. Newton's steps start from a line
 * within 1/17 of y, and 17^-8 is 2^-32.7. For all these factors y comes within 3 of its value (the doubling saturates where d is 1/2), so that
 * y - 4 gives the quotient or one less, which the remainder tells. */
static inline int32x4_t kt_inverse_factors(int32x4_t factor)
{
    enum { SLOPE = 2021161080, START = -1263225675, ERROR = 4 }; /* 16/17 and 24/17 of 2^31, as int32 */
    const int32x4_t zeros = vclzq_s32(factor);
    const int32x4_t d = vshlq_s32(factor, vsubq_n_s32(zeros, 1));
    int32x4_t y = vaddq_n_s32(vqrdmulhq_n_s32(d, -SLOPE), START);
    int32x4_t quotient;
    y = kt_nearer_inverse(y, d);
    y = kt_nearer_inverse(y, d);
    y = kt_nearer_inverse(y, d);
    quotient = vshlq_s32(vsubq_n_s32(y, ERROR), vsubq_n_s32(zeros, 15));
    /* 2^47 - quotient * factor, of which 32 bits suffice: it is in [0, 2 factor). */
    return vaddq_m_n_s32(quotient, quotient, 1, vcmpleq_s32(vmulq_s32(quotient, factor), vnegq_s32(factor)));
}

/* kt_bias_before_gain on lanes. The sum is that of 64 bits, and where its upper half says that it leaves int32, the limit alone. */
static inline int32x4_t kt_biases_before_gain(int32x4_t bias, int32x4_t inverse)
{
    const int32x4_t high = vmulhq_s32(bias, inverse);
    const int32x4_t low = vreinterpretq_s32_u32(vrshrq_n_u32(vreinterpretq_u32_s32(vmulq_s32(bias, inverse)), KT_INVERSE_BITS));
    const int32x4_t limited = vqshlq_n_s32(high, 32 - KT_INVERSE_BITS);
    return vqaddq_m_s32(limited, limited, low, vcmpgeq_s32(high, vdupq_n_s32(-(INT32_C(1) << (KT_INVERSE_BITS - 1)))));
}

/* kt_gain_each of at least four channels: the last four may be those of before in part. */
static inline void kt_gain_fours(const kt_gain *gain, int32_t channels, const int32_t *multiplier, const int8_t *shift, const int32_t *bias,
                                 int32_t *multipliers, int8_t *shifts, int32_t *biases)
{
    int32_t next;
    for (next = 0; next < channels; next += 4) {
        const int32_t c = kt_minimum(next, channels - 4);
        const int32x4_t factor = kt_gain_factors(vldrbq_s32(gain->codes + c), gain->exponent);
        const int32x4_t usual = vldrwq_s32(multiplier + c), usual_shift = vldrbq_s32(shift + c);
        const int32x4_t high = vmulhq_s32(usual, factor);
        const uint32x4_t low = vreinterpretq_u32_s32(vmulq_s32(usual, factor));
        const int32x4_t whole = vaddq_s32(vshlq_n_s32(high, 32 - KT_GAIN_BITS), vreinterpretq_s32_u32(vrshrq_n_u32(low, KT_GAIN_BITS)));
        const int32x4_t half = vaddq_s32(vshlq_n_s32(high, 31 - KT_GAIN_BITS), vreinterpretq_s32_u32(vrshrq_n_u32(low, KT_GAIN_BITS + 1)));
        const mve_pred16_t large = vcmpltq_n_s32(whole, 0); /* of 32 bits */
        vstrwq_s32(multipliers + c, vpselq_s32(half, whole, large));
        vstrbq_s32(shifts + c, vaddq_m_n_s32(usual_shift, usual_shift, 1, large));
        vstrwq_s32(biases + c, kt_biases_before_gain(vldrwq_s32(bias + c), kt_inverse_factors(factor)));
    }
}

#endif
