/* Three sums in two words, in portable C: four channels at a time, whose sixteen sums lie in registers where a core has thirty-two. */
#include "triple.h"

#if !KT_ARMV7M && !KT_ARMV6M && !KT_VECTOR

/* The words of one channel, [4]: the sums so far and the products of one value of the window. */
#define KT_SUMS(c) uint32_t c##0 = panel[0], c##1 = panel[1], c##2 = panel[2], c##3 = panel[3]
#define KT_ADD(c, byte) \
    do { \
        const uint32_t weight = (byte); \
        c##0 += x0 * weight; \
        c##1 += x1 * weight; \
        c##2 += x2 * weight; \
        c##3 += x3 * weight; \
    } while (0)
#define KT_STORE(c, at) \
    do { \
        (at)[0] = c##0; \
        (at)[1] = c##1; \
        (at)[2] = c##2; \
        (at)[3] = c##3; \
    } while (0)

void KT_IN_ORDER kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    KT_SUMS(a);
    KT_SUMS(b);
    for (panel += KT_PANEL_WORDS; length > 0; length--, panel += KT_PANEL_WORDS, weights += 2) {
        const uint32_t x0 = panel[0], x1 = panel[1], x2 = panel[2], x3 = panel[3];
        KT_ADD(a, weights[0]);
        KT_ADD(b, weights[1]);
    }
    KT_STORE(a, words);
    KT_STORE(b, words + KT_PANEL_WORDS);
}

void KT_IN_ORDER kt_triple_sums_of_four(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    const uint32_t *const end = panel + KT_PANEL_WORDS * (length + 1);
    const uint8_t *others = weights + 2 * length;
    KT_SUMS(a);
    KT_SUMS(b);
    KT_SUMS(c);
    KT_SUMS(d);
#define KT_VALUE(i) \
    do { \
        const uint32_t x0 = panel[4 * (i)], x1 = panel[4 * (i) + 1], x2 = panel[4 * (i) + 2], x3 = panel[4 * (i) + 3]; \
        KT_ADD(a, weights[2 * (i)]); \
        KT_ADD(b, weights[2 * (i) + 1]); \
        KT_ADD(c, others[2 * (i)]); \
        KT_ADD(d, others[2 * (i) + 1]); \
    } while (0)
    panel += KT_PANEL_WORDS;
    do {
        KT_VALUE(0);
        KT_VALUE(1);
        KT_VALUE(2);
        KT_VALUE(3);
        panel += 4 * KT_PANEL_WORDS;
        weights += 8;
        others += 8;
    } while (panel != end);
#undef KT_VALUE
    KT_STORE(a, words);
    KT_STORE(b, words + KT_PANEL_WORDS);
    KT_STORE(c, words + 2 * KT_PANEL_WORDS);
    KT_STORE(d, words + 3 * KT_PANEL_WORDS);
}

KT_INLINE void kt_product(kt_triple_product product, int32_t negative)
{
    const int32_t length = (int32_t)(product.end - product.panel) / KT_PANEL_WORDS - 1;
    while (product.result_end - product.result >= KT_MOST_CHANNELS) {
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        int32_t c;
        kt_triple_sums_of_four(words, product.panel, product.weights, length);
        for (c = 0; c < KT_MOST_CHANNELS; c++) {
            kt_six_results(words + KT_PANEL_WORDS * c, product.bias[c], product.epilogue + 3 * c, negative, product.result + c, product.stride);
        }
        product.weights += KT_MOST_CHANNELS * length;
        product.bias += KT_MOST_CHANNELS;
        product.epilogue += 3 * KT_MOST_CHANNELS;
        product.result += KT_MOST_CHANNELS;
    }
    kt_triple_results(&product, negative);
}

void kt_triple_half_up(const kt_triple_product *product)
{
    kt_product(*product, 0);
}

void kt_triple_away(const kt_triple_product *product)
{
    kt_product(*product, 128);
}

#endif
