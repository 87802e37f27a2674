/* prescale.h: gradients scaled per channel into shorts, in vectors. */
#ifndef KT_VECTOR_PRESCALE_H
#define KT_VECTOR_PRESCALE_H

#include "channels.h"

/* (g * m + half) >> p of the first `count` channels, in shorts; 0 elsewhere, where m is 0. */
KT_INLINE kt_lanes kt_prescaled_channels(const int8_t *g, kt_channel_words m, int32_t p, int32_t count)
{
    const kt_channel_words w = kt_words_of(kt_widen_some(g, count));
    const int32_t half = (int32_t)(UINT32_C(1) << (p - 1));
    const kt_channel_words scaled = {(kt_lanes)(((kt_word_lanes)w.low * (kt_word_lanes)m.low + half) >> p),
                                     (kt_lanes)(((kt_word_lanes)w.high * (kt_word_lanes)m.high + half) >> p)};
    return kt_pack_shorts(scaled);
}

#endif
