/* Three sums in two words that start from something else at each position, in C. */
#include "triple.h"

#if !KT_ARMV7M && !KT_VECTOR

KT_INLINE void kt_product_of_started(kt_triple_product product, int32_t negative)
{
    const int32_t length = (int32_t)(product.end - product.panel) / KT_PANEL_WORDS - 1;
    while (product.result != product.result_end) {
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        const int32_t channels = kt_minimum((int32_t)(product.result_end - product.result), KT_MOST_CHANNELS);
        int32_t c;
        kt_triple_words(words, product.panel, product.weights, length, channels);
        for (c = 0; c < channels; c++) {
            kt_six_started(words + KT_PANEL_WORDS * c, product.bias + KT_POSITIONS * c, product.epilogue + 3 * c, negative, product.result + c,
                           product.stride);
        }
        product.weights += channels * length;
        product.bias += KT_POSITIONS * channels;
        product.epilogue += 3 * channels;
        product.result += channels;
    }
}

void kt_triple_started_half_up(const kt_triple_product *product)
{
    kt_product_of_started(*product, 0);
}

void kt_triple_started_away(const kt_triple_product *product)
{
    kt_product_of_started(*product, 128);
}

#endif
