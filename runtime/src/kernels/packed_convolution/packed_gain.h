/* packed_gain.h: the requantisation of packed layers with their gains (../gain/gain.h), in the form of product.h. */
#ifndef KT_PACKED_GAIN_H
#define KT_PACKED_GAIN_H

#include "../gain/gain.h"
#include "packed_bias.h"

/* {multiplier, addend, shift} of a channel with its gain: half the addend's share of the shift goes with one bit less of it. */
static inline void kt_gained_epilogue(const int32_t *epilogue, const kt_gain *gain, int32_t channel, int32_t *words)
{
    enum { ROUNDING = 1 << 6 }; /* of the multiplication, which the shift does not change */
    int32_t moved = 0;
    words[0] = kt_gained_multiplier(epilogue[0], gain, channel, &moved);
    words[1] = moved ? ROUNDING + ((epilogue[1] - ROUNDING) >> 1) : epilogue[1];
    words[2] = epilogue[2] - moved;
}

/* For each four channels what their sums start from, and their epilogues: 16 words each. stream, step: the first epilogue of a packed layer, and
 * words from one to the next. bias, fold, limit: as `kt_packed_bias`. Channels beyond the last give anything. */
static inline void kt_gained_starts(const int32_t *stream, int32_t step, const int32_t *bias, const int32_t *fold, int32_t limit,
                                    const kt_gain *gain, int32_t channels, int32_t *starts)
{
    int32_t c, i;
    for (c = 0; c < channels; c += KT_QUAD, stream += step, starts += KT_QUAD + KT_EPILOGUE) {
        for (i = 0; i < KT_QUAD; i++) {
            const int32_t channel = kt_minimum(c + i, channels - 1);
            starts[i] = fold == NULL ? bias[channel] : fold[channel] + kt_clamp(bias[channel], -limit, limit);
            kt_gained_epilogue(stream + 3 * i, gain, channel, starts + KT_QUAD + 3 * i);
        }
    }
}

#endif
