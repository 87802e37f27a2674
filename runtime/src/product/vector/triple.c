/* The sums of six positions in vectors, and the words that stand for them where something else than results is made of them. */
#include "triple.h"

#if KT_VECTOR

/* The words of `channels`, [channels][KT_PANEL_WORDS]. */
KT_INLINE void words_of(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t channels)
{
    uint32_t sums[KT_POSITIONS][KT_FOUR_CHANNELS];
    int32_t p, c;
    for (p = 0; p < KT_POSITIONS; p += KT_TOGETHER) {
        kt_four_lanes found[KT_TOGETHER];
        kt_sums_together((const int16_t *)(const void *)panel + p * length, weights, length, channels, found);
        memcpy(sums[p], found, sizeof found);
    }
    for (c = 0; c < channels; c++, words += KT_PANEL_WORDS) {
        words[0] = sums[0][c] + (sums[1][c] << 10);
        words[1] = sums[2][c] + (sums[1][c] << 21);
        words[2] = sums[3][c] + (sums[4][c] << 10);
        words[3] = sums[5][c] + (sums[4][c] << 21);
    }
}

void kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    words_of(words, panel, weights, length, 2);
}

void kt_triple_sums_of_four(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    words_of(words, panel, weights, length, KT_FOUR_CHANNELS);
}

void kt_triple_half_up(const kt_triple_product *product)
{
    const kt_triple_product left = kt_vector_channels(*product, 0, 0);
    kt_triple_results(&left, 0);
}

void kt_triple_away(const kt_triple_product *product)
{
    const kt_triple_product left = kt_vector_channels(*product, 0, 128);
    kt_triple_results(&left, 128);
}

#endif
