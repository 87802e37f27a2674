/* Both columns of a panel of scaled gradients. */
#include "scaled_panel.h"

/* kt_scale_four of two positions for the shift that nearly all layers have: four neighbouring words of a panel. */
enum { KT_USUAL_SHIFT = 7 };
KT_INLINE void kt_scale_two(const int8_t *g0, const int8_t *g1, const int16_t *prescale, int32_t *word)
{
    const int32_t half = 1 << (KT_USUAL_SHIFT - 1);
    const int32_t m01 = kt_word_at(prescale), m23 = kt_word_at(prescale + 2);
    int32_t even, odd;
    kt_split_four(g0, &even, &odd);
    word[0] = kt_pair_of_shifted(kt_add_low(half, even, m01), kt_add_high_low(half, even, m23));
    word[2] = kt_pair_of_shifted(kt_add_low_high(half, odd, m01), kt_add_high(half, odd, m23));
    kt_split_four(g1, &even, &odd);
    word[1] = kt_pair_of_shifted(kt_add_low(half, even, m01), kt_add_high_low(half, even, m23));
    word[3] = kt_pair_of_shifted(kt_add_low_high(half, odd, m01), kt_add_high(half, odd, m23));
}

void kt_fill_scaled_columns(const int8_t *g, const int8_t *other, const int16_t *prescale, int32_t channels, int32_t shift, int32_t *panel)
{
    int32_t i;
    if (shift == KT_USUAL_SHIFT && channels % 4 == 0) {
        for (i = 0; i < channels; i += 4, panel += 4) {
            kt_scale_two(g + i, other + i, prescale + i, panel);
        }
        return;
    }
    for (i = 0; i < 2; i++) {
        kt_fill_scaled(i == 0 ? g : other, prescale, channels, (int32_t)(UINT32_C(1) << (shift - 1)), shift, panel + i);
    }
}
