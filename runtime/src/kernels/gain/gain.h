/* gain.h: a trained gain of each channel, in a layer's requantisation and in the pre-scale of its gradients.
 *
 *     gain = 1 + code * 2^exponent, within [1/16, 2]; multiplier' * 2^shift' = multiplier * 2^shift * gain
 *
 * A code of 0 changes nothing. */
#ifndef KT_GAIN_H
#define KT_GAIN_H

#include <stddef.h>

#include "kt/kernels/gain.h"
#include "kt/numerics.h"

enum {
    KT_GAIN_BITS = 23,     /* of the gain in a requantisation */
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
    const int32_t one = INT32_C(1) << KT_GAIN_BITS;
    const int32_t moved = kt_shift_round(gain->codes[channel], -(kt_minimum(gain->exponent, 0) + KT_GAIN_BITS));
    return kt_clamp(moved + one, one / 16, 2 * one);
}

/* The same in units of 2^-14. */
static inline int32_t kt_backward_factor(const kt_gain *gain, int32_t channel)
{
    return kt_shift_round(kt_gain_factor(gain, channel), KT_GAIN_BITS - KT_BACKWARD_BITS);
}

/* A multiplier with the gain of a channel; *shift takes one more where half of it is what fits into int32. */
static inline int32_t kt_gained_multiplier(int32_t multiplier, const kt_gain *gain, int32_t channel, int32_t *shift)
{
    const int64_t product = (int64_t)multiplier * kt_gain_factor(gain, channel);
    const int64_t whole = (product + (INT64_C(1) << (KT_GAIN_BITS - 1))) >> KT_GAIN_BITS;
    if (whole <= INT32_MAX) {
        return (int32_t)whole;
    }
    *shift += 1;
    return (int32_t)((product + (INT64_C(1) << KT_GAIN_BITS)) >> (KT_GAIN_BITS + 1));
}

/* Multipliers and shifts of a layer with their gains, which come to stand in scratch: 4 bytes a channel and 1, rounded up to 4. */
static inline void kt_gained_multipliers(const kt_gain *gain, int32_t channels, const int32_t **multiplier, const int8_t **shift,
                                         int32_t *scratch)
{
    int8_t *const shifts = (int8_t *)(scratch + channels);
    int32_t c;
    for (c = 0; c < channels; c++) {
        int32_t moved = (*shift)[c];
        scratch[c] = kt_gained_multiplier((*multiplier)[c], gain, c, &moved);
        shifts[c] = (int8_t)moved;
    }
    *multiplier = scratch;
    *shift = shifts;
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

/* A result's multiplier and shift; gain: with or without. */
static inline int32_t kt_requantize_gained(int32_t total, int32_t multiplier, int32_t shift, const kt_gain *gain, int32_t channel)
{
    if (gain->codes != NULL) {
        multiplier = kt_gained_multiplier(multiplier, gain, channel, &shift);
    }
    return kt_requantize(total, multiplier, shift);
}

#endif
