/* Back through the weights of three sums in two words, in portable C: four values at a time, whose sixteen sums lie in registers where a core has
 * thirty-two. */
#include "triple_backward.h"

#if !KT_ARMV7M && !KT_ARMV6M && !KT_VECTOR

/* The sums of one value at four positions. */
#define KT_SUMS(v, at) uint32_t v##0 = (at)[0], v##1 = (at)[1], v##2 = (at)[2], v##3 = (at)[3]
#define KT_ADD(v, byte) \
    do { \
        const uint32_t factor = (byte); \
        v##0 += g0 * factor; \
        v##1 += g1 * factor; \
        v##2 += g2 * factor; \
        v##3 += g3 * factor; \
    } while (0)
#define KT_STORE(v, at) \
    do { \
        (at)[0] = v##0; \
        (at)[1] = v##1; \
        (at)[2] = v##2; \
        (at)[3] = v##3; \
    } while (0)
/* Gradients of one of two output channels. */
#define KT_GRADIENTS(c) \
    const uint32_t g0 = (uint32_t)panel[4 * (c)], g1 = (uint32_t)panel[4 * (c) + 1], g2 = (uint32_t)panel[4 * (c) + 2], \
                   g3 = (uint32_t)panel[4 * (c) + 3]

static void KT_IN_ORDER kt_back_four_values(uint32_t *sums, const int32_t *panel, const int32_t *end, const uint8_t *weight, int32_t step)
{
    KT_SUMS(a, sums);
    KT_SUMS(b, sums + 4);
    KT_SUMS(c, sums + 8);
    KT_SUMS(d, sums + 12);
    for (; panel != end; panel += 2 * KT_BACKWARD_POSITIONS, weight += step) {
        {
            KT_GRADIENTS(0);
            KT_ADD(a, weight[0]);
            KT_ADD(b, weight[2]);
            KT_ADD(c, weight[4]);
            KT_ADD(d, weight[6]);
        }
        {
            KT_GRADIENTS(1);
            KT_ADD(a, weight[1]);
            KT_ADD(b, weight[3]);
            KT_ADD(c, weight[5]);
            KT_ADD(d, weight[7]);
        }
    }
    KT_STORE(a, sums);
    KT_STORE(b, sums + 4);
    KT_STORE(c, sums + 8);
    KT_STORE(d, sums + 12);
}

static void kt_back_value(uint32_t *sums, const int32_t *panel, const int32_t *end, const uint8_t *weight, int32_t step)
{
    KT_SUMS(a, sums);
    for (; panel != end; panel += 2 * KT_BACKWARD_POSITIONS, weight += step) {
        {
            KT_GRADIENTS(0);
            KT_ADD(a, weight[0]);
        }
        {
            KT_GRADIENTS(1);
            KT_ADD(a, weight[1]);
        }
    }
    KT_STORE(a, sums);
}

void kt_triple_back(const kt_triple_backward *product)
{
    const uint8_t *weights = product->weights;
    uint32_t *sums = product->sums;
    for (; product->end - sums >= 4 * KT_BACKWARD_POSITIONS; sums += 4 * KT_BACKWARD_POSITIONS, weights += 8) {
        kt_back_four_values(sums, product->panel, product->panel_end, weights, product->step);
    }
    for (; sums != product->end; sums += KT_BACKWARD_POSITIONS, weights += 2) {
        kt_back_value(sums, product->panel, product->panel_end, weights, product->step);
    }
}

#endif
