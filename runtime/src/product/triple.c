/* Three sums in two words, in portable C. */
#include "triple.h"

#if !KT_ARMV7M && !KT_ARMV6M

/* Eight sums of one value of the window. */
KT_INLINE void kt_add_products(uint32_t words[2 * KT_PANEL_WORDS], const uint32_t *panel, const uint8_t *weights)
{
    const uint32_t first = weights[0], second = weights[1];
    int32_t i;
    for (i = 0; i < KT_PANEL_WORDS; i++) {
        words[i] += panel[i] * first;
        words[KT_PANEL_WORDS + i] += panel[i] * second;
    }
}

void kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    uint32_t sums[2 * KT_PANEL_WORDS];
    memcpy(sums, panel, sizeof sums / 2);
    memcpy(sums + KT_PANEL_WORDS, panel, sizeof sums / 2);
    for (panel += KT_PANEL_WORDS; length > 0; length--, panel += KT_PANEL_WORDS, weights += 2) {
        kt_add_products(sums, panel, weights);
    }
    memcpy(words, sums, sizeof sums);
}

void kt_triple_half_up(const kt_triple_product *product)
{
    kt_triple_results(product, 0);
}

void kt_triple_away(const kt_triple_product *product)
{
    kt_triple_results(product, 128);
}

#endif
