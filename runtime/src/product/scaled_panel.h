/* scaled_panel.h: a gradient in the scale of its channels' weights, as the products to an input's gradient read it. */
#ifndef KT_SCALED_PANEL_H
#define KT_SCALED_PANEL_H

#include "panel.h"

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

/* The last channels of a result that are no four. */
KT_INLINE int32_t *kt_fill_last_scaled(const int8_t *g, const int16_t *m, int32_t left, int32_t half, int32_t shift, int32_t *word)
{
    int8_t rest[4] = {0, 0, 0, 0};
    int32_t even, odd, i;
    if (left == 0) {
        return word;
    }
    for (i = 0; i < left; i++) {
        rest[i] = g[i];
    }
    kt_scale_four(rest, m, half, shift, &even, &odd);
    *word = left == 2 ? kt_pair_of(kt_low(even), kt_low(odd)) : even;
    word += 2;
    if (left == 3) {
        *word = odd;
        word += 2;
    }
    return word;
}

/* All channels of one result, scaled; the pairs of a run (panel.h), two words apart. */
KT_INLINE int32_t *kt_fill_scaled(const int8_t *g, const int16_t *m, int32_t channels, int32_t half, int32_t shift,
                                  int32_t *word)
{
    int32_t left;
    for (left = channels; left >= 8; left -= 8, g += 8, m += 8, word += 8) {
#if KT_COLUMN_LANES
        kt_fill_eight_scaled(word, g, m, half, shift);
#else
        kt_scale_four(g, m, half, shift, word, word + 2);
        kt_scale_four(g + 4, m + 4, half, shift, word + 4, word + 6);
#endif
    }
    if (left >= 4) {
        kt_scale_four(g, m, half, shift, word, word + 2);
        left -= 4, g += 4, m += 4, word += 4;
    }
    return kt_fill_last_scaled(g, m, left, half, shift, word);
}

static inline int32_t kt_channel_pairs(int32_t channels)
{
    return channels / 4 * 2 + (channels % 4 + 1) / 2;
}

/* All channels of two results, which may be one, as both columns of a panel. */
void kt_fill_scaled_columns(const int8_t *g, const int8_t *other, const int16_t *prescale, int32_t channels, int32_t shift, int32_t *panel);

#endif
