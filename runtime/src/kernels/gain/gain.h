/* gain.h: a trained gain of each channel, in a layer's requantisation and in the pre-scale of its gradients.
 *
 *     gain = 1 + code * 2^exponent, within [1/8, 2]; multiplier' * 2^shift' = multiplier * 2^shift * gain
 *     bias' = saturate32(round(bias / gain)), half up
 *
 * so that the gain multiplies the sums of a layer, and not its bias. A code of 0 changes nothing. */
#ifndef KT_GAIN_H
#define KT_GAIN_H

#include <stddef.h>

#include "kt/kernels/gain.h"
#include "kt/numerics.h"

enum {
    KT_GAIN_BITS = 23,     /* of the gain in a requantisation */
    KT_INVERSE_BITS = 24,  /* of 1 / gain */
    KT_BACKWARD_BITS = 14  /* and of that which gradients pass */
};

/* codes: one a channel, NULL for none. */
typedef struct {
    const int8_t *codes;
    int32_t exponent;
} kt_gain;

static inline kt_gain kt_gain_of(const int8_t *codes, const int8_t *exponent)
{
    kt_gain gain;
    gain.codes = codes;
    gain.exponent = codes == NULL ? 0 : *exponent;
    return gain;
}

/* The gain of a channel in units of 2^-23. An exponent above 0 gives what 0 gives. */
static inline int32_t kt_gain_factor(const kt_gain *gain, int32_t channel)
{
    const int32_t one = INT32_C(1) << KT_GAIN_BITS, left = kt_minimum(gain->exponent, 0) + KT_GAIN_BITS;
    const int32_t code = gain->codes[channel];
    const int32_t moved = left >= 0 ? code * (1 << left) : kt_shift_round(code, -left); /* of 8 bits: nothing leaves int32 */
    return kt_clamp(moved + one, one / 8, 2 * one);
}

/* The same in units of 2^-14. */
static inline int32_t kt_backward_factor(const kt_gain *gain, int32_t channel)
{
    return kt_shift_round(kt_gain_factor(gain, channel), KT_GAIN_BITS - KT_BACKWARD_BITS);
}

/* A bias times 1 / gain in units of 2^-24, rounded half up and saturated. The upper half of 64 bits says whether the result fits into int32. */
static inline int32_t kt_times_inverse(int32_t bias, int32_t inverse)
{
    const int32_t most = INT32_C(1) << (KT_INVERSE_BITS - 1);
    const int64_t product = (int64_t)bias * inverse + most;
    const int32_t high = (int32_t)(product >> 32);
    if ((uint32_t)high + (uint32_t)most < 2 * (uint32_t)most) {
        return (int32_t)(product >> KT_INVERSE_BITS);
    }
    return high < 0 ? INT32_MIN : INT32_MAX;
}

/* A bias in front of a gain, in units of 2^-23. 2^47 / factor is at most 2^27, and takes three divisions of 32 bits: what is left of one is
 * below 2^24. */
static inline int32_t kt_bias_before_gain(int32_t bias, int32_t factor)
{
    enum { STEP = 8, FIRST = KT_GAIN_BITS + KT_INVERSE_BITS - 2 * STEP };
    const uint32_t divisor = (uint32_t)factor, dividend = UINT32_C(1) << FIRST;
    uint32_t inverse = dividend / divisor;
    uint32_t left = (dividend - inverse * divisor) << STEP;
    uint32_t digit = left / divisor;
    inverse = inverse << STEP | digit;
    left = (left - digit * divisor) << STEP;
    inverse = inverse << STEP | left / divisor;
    return kt_times_inverse(bias, (int32_t)inverse);
}

/* A multiplier with a gain in units of 2^-23; *shift takes one more where half of it is what fits into int32. */
static inline int32_t kt_gained_multiplier(int32_t multiplier, int32_t factor, int32_t *shift)
{
    const uint64_t product = (uint64_t)(uint32_t)multiplier * (uint32_t)factor; /* below 2^55: without its last 23 bits a uint32 */
    const uint32_t whole = (uint32_t)((product + (UINT64_C(1) << (KT_GAIN_BITS - 1))) >> KT_GAIN_BITS);
    if (whole <= INT32_MAX) {
        return (int32_t)whole;
    }
    *shift += 1;
    return (int32_t)((product + (UINT64_C(1) << KT_GAIN_BITS)) >> (KT_GAIN_BITS + 1));
}

/* Of `channels` channels: kt_gain_factor, kt_gained_multiplier and kt_bias_before_gain. */
static inline void kt_gain_each(const kt_gain *gain, int32_t channels, const int32_t *multiplier, const int8_t *shift, const int32_t *bias,
                                int32_t *multipliers, int8_t *shifts, int32_t *biases)
{
    int32_t c;
    for (c = 0; c < channels; c++) {
        const int32_t factor = kt_gain_factor(gain, c);
        int32_t moved = shift[c];
        multipliers[c] = kt_gained_multiplier(multiplier[c], factor, &moved);
        shifts[c] = (int8_t)moved;
        biases[c] = kt_bias_before_gain(bias[c], factor);
    }
}

#if KT_MVE
#include "mve/gained_lanes.h"
#endif

/* Words of scratch for what `kt_gained_layer` finds, of each channel: two int32 and an int8, in whole words. */
static inline int32_t kt_gained_words(int32_t channels)
{
    return 2 * channels + (channels + 3) / 4;
}

/* Multipliers and shifts of a layer with their gains, and its bias in front of them: the result. All come to stand in scratch. */
static inline const int32_t *kt_gained_layer(const int8_t *codes, const int8_t *exponent, int32_t channels, const int32_t **multiplier,
                                             const int8_t **shift, const int32_t *bias, int32_t *scratch)
{
    const kt_gain gain = kt_gain_of(codes, exponent);
    int32_t *const biases = scratch + channels;
    int8_t *const shifts = (int8_t *)(biases + channels);
#if KT_MVE
    if (channels >= 4) {
        kt_gain_fours(&gain, channels, *multiplier, *shift, bias, scratch, shifts, biases);
    } else
#endif
    {
        kt_gain_each(&gain, channels, *multiplier, *shift, bias, scratch, shifts, biases);
    }
    *multiplier = scratch;
    *shift = shifts;
    return biases;
}

/* Pre-scale factors of a gradient with their gains, in scratch: 2 bytes a channel. */
static inline const int16_t *kt_gained_prescale(const kt_gain *gain, int32_t channels, const int16_t *prescale, int16_t *scratch)
{
    int32_t c;
    for (c = 0; c < channels; c++) {
        scratch[c] = (int16_t)kt_minimum(kt_shift_round(prescale[c] * kt_backward_factor(gain, c), KT_BACKWARD_BITS), INT16_MAX);
    }
    return scratch;
}

#endif
