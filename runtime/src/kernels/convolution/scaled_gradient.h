/* scaled_gradient.h: a gradient in the scale of its channels' weights, as the products to an input's gradient read it. */
#ifndef KT_SCALED_GRADIENT_H
#define KT_SCALED_GRADIENT_H

#include "../../product/halves.h"

/* (g * m + half) >> shift of four values, as the pairs (0, 2) and (1, 3). */
KT_INLINE void kt_scale_four(const int8_t *g, const int16_t *prescale, int32_t half, int32_t shift, int32_t *even,
                             int32_t *odd)
{
    const int32_t m01 = kt_word_at(prescale), m23 = kt_word_at(prescale + 2);
    int32_t first, second;
    kt_split_four(g, &first, &second);
    *even = kt_pair_of(kt_add_low(half, first, m01) >> shift, kt_add_high_low(half, first, m23) >> shift);
    *odd = kt_pair_of(kt_add_low_high(half, second, m01) >> shift, kt_add_high(half, second, m23) >> shift);
}

#endif
