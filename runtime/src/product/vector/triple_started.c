/* The sums of six positions in vectors, where each starts from something else. */
#include "triple.h"

#if KT_VECTOR

KT_INLINE void started(const kt_triple_product *product, int32_t negative)
{
    kt_triple_product left = kt_vector_channels(*product, 1, negative);
    if (left.result != left.result_end) { /* two channels */
        const int32_t length = (int32_t)(left.end - left.panel) / KT_PANEL_WORDS - 1;
        uint32_t words[2 * KT_PANEL_WORDS];
        kt_triple_sums(words, left.panel, left.weights, length);
        kt_six_started(words, left.bias, left.epilogue, negative, left.result, left.stride);
        kt_six_started(words + KT_PANEL_WORDS, left.bias + KT_POSITIONS, left.epilogue + 3, negative, left.result + 1, left.stride);
    }
}

void kt_triple_started_half_up(const kt_triple_product *product)
{
    started(product, 0);
}

void kt_triple_started_away(const kt_triple_product *product)
{
    started(product, 128);
}

#endif
