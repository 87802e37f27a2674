/* Back through the weights of three sums in two words, in portable C. */
#include "triple_backward.h"

#if !KT_ARMV7M && !KT_ARMV6M

void kt_triple_back(const kt_triple_backward *product)
{
    const uint8_t *weights = product->weights;
    uint32_t *sums = product->sums;
    for (; sums != product->end; sums += KT_BACKWARD_POSITIONS, weights += 2) {
        const uint8_t *weight = weights;
        const int32_t *panel = product->panel;
        int32_t i;
        for (; panel != product->panel_end; panel += 2 * KT_BACKWARD_POSITIONS, weight += product->step) {
            for (i = 0; i < KT_BACKWARD_POSITIONS; i++) {
                sums[i] += (uint32_t)panel[i] * weight[0] + (uint32_t)panel[KT_BACKWARD_POSITIONS + i] * weight[1];
            }
        }
    }
}

#endif
