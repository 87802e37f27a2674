/* packed_gain.h: the requantisation of packed layers with their gains (../gain/gain.h), in the form of product.h. */
#ifndef KT_PACKED_GAIN_H
#define KT_PACKED_GAIN_H

#include "../gain/gain.h"
#include "packed_bias.h"

/* {multiplier, addend, shift} of a channel with its gain in units of 2^-23: half the addend's share of the shift goes with one bit less of it. */
static inline void kt_gained_epilogue(const int32_t *epilogue, int32_t factor, int32_t *words)
{
    enum { ROUNDING = 1 << 6 }; /* of the multiplication, which the shift does not change */
    int32_t moved = 0;
    words[0] = kt_gained_multiplier(epilogue[0], factor, &moved);
    words[1] = moved ? ROUNDING + ((epilogue[1] - ROUNDING) >> 1) : epilogue[1];
    words[2] = epilogue[2] - moved;
}

/* Where the epilogues of a packed layer are: of the first four channels, words from them to those of the next four, and from a channel to the
 * next. */
typedef struct {
    const int32_t *first;
    int32_t step, channel;
} kt_epilogue_places;

enum { KT_GAINED_WORDS = 1 + KT_EPILOGUE / KT_QUAD }; /* of a channel, below */

#if KT_DSP
#include "dsp/gained_starts.h"
#endif

/* For each four channels what their sums start from, and their epilogues: 16 words each. bias, fold, limit: as `kt_packed_bias`, of a trained
 * bias. Channels beyond the last give anything. */
static inline void kt_gained_starts(const kt_epilogue_places *epilogues, const int32_t *bias, const int32_t *fold, int32_t limit, const int8_t *gain,
                                    const int8_t *gain_exponent, int32_t channels, int32_t *starts)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
#if KT_DSP
    const kt_gained_walk walk = {
        gain, bias, fold, starts, epilogues->first, limit, 1 - kt_minimum(trained.exponent, 0), 4 * epilogues->channel, gain + channels,
        4 * (epilogues->step - KT_QUAD * epilogues->channel),
    };
    int32_t *const last = starts + (channels - 1) / KT_QUAD * (KT_QUAD + KT_EPILOGUE);
    int32_t i;
    for (i = (channels - 1) % KT_QUAD + 1; i < KT_QUAD; i++) {
        last[i] = 0;
        last[KT_QUAD + 3 * i] = last[KT_QUAD + 3 * i + 1] = last[KT_QUAD + 3 * i + 2] = 0;
    }
    kt_walk_gained_starts(&walk);
#else
    const int32_t *quad = epilogues->first;
    int32_t c, i;
    for (c = 0; c < channels; c += KT_QUAD, quad += epilogues->step, starts += KT_QUAD + KT_EPILOGUE) {
        for (i = 0; i < KT_QUAD; i++) {
            const int32_t channel = kt_minimum(c + i, channels - 1);
            const int32_t factor = kt_gain_factor(&trained, channel);
            starts[i] = fold[channel] + kt_clamp(kt_bias_before_gain(bias[channel], factor), -limit, limit);
            kt_gained_epilogue(quad + i * epilogues->channel, factor, starts + KT_QUAD + 3 * i);
        }
    }
#endif
}

#endif
