/* Back through the weights of three sums in two words, in vectors: values in the lanes, two output channels in each word. */
#include "../triple_backward.h"

#if KT_VECTOR
#include "quads.h"

enum { PAIRS = 16 /* of output channels at a time */, BLOCK = 2 /* vectors of values at once */ };

/* sums [values][4] of blocks * KT_LANES values, of which `count` of each block exist, take the products with pairs of gradients [pairs][4]. */
KT_INLINE void add_values(uint32_t *sums, const int32_t *gradients, int32_t pairs, const uint8_t *weights, int32_t step, int32_t blocks, int32_t count)
{
    const kt_lanes none = kt_no_lanes();
    kt_lanes total[BLOCK][4] = {{none, none, none, none}, {none, none, none, none}};
    int32_t block, i;
    for (; pairs > 0; pairs--, gradients += 4, weights += step) {
        kt_lanes bytes[BLOCK];
        for (block = 0; block < blocks; block++) {
            uint8_t rest[2 * KT_LANES] = {0};
            if (count < KT_LANES) {
                memcpy(rest, weights, 2 * (size_t)count);
            }
            bytes[block] = kt_widen_bytes(count < KT_LANES ? rest : weights + 2 * KT_LANES * block);
        }
        for (i = 0; i < 4; i++) {
            const kt_lanes both = kt_splat(gradients[i]);
            for (block = 0; block < blocks; block++) {
                total[block][i] = kt_add_pair_products(total[block][i], bytes[block], both);
            }
        }
    }
    for (block = 0; block < blocks; block++) {
        kt_add_by_value((int32_t *)sums + 4 * KT_LANES * block, total[block], count);
    }
}

void kt_triple_back(const kt_triple_backward *product)
{
    const int32_t values = (int32_t)(product->end - product->sums) / KT_BACKWARD_POSITIONS;
    const int32_t all = (int32_t)(product->panel_end - product->panel) / (2 * KT_BACKWARD_POSITIONS);
    const int32_t *panel = product->panel;
    int32_t gradients[4 * PAIRS];
    int32_t first, i, k;
    for (first = 0; first < all; first += PAIRS) {
        const int32_t pairs = kt_minimum(all - first, PAIRS);
        const uint8_t *const weights = product->weights + first * product->step;
        for (i = 0; i < 4 * pairs; i += 4, panel += 2 * KT_BACKWARD_POSITIONS) {
            const kt_four_words even = (kt_four_words)kt_load_four(panel), odd = (kt_four_words)kt_load_four(panel + KT_BACKWARD_POSITIONS);
            const kt_four_words both = (even & 0xFFFF) | odd << 16;
            memcpy(gradients + i, &both, sizeof both);
        }
        for (k = 0; k + BLOCK * KT_LANES <= values; k += BLOCK * KT_LANES) {
            add_values(product->sums + 4 * k, gradients, pairs, weights + 2 * k, product->step, BLOCK, KT_LANES);
        }
        for (; k + KT_LANES <= values; k += KT_LANES) {
            add_values(product->sums + 4 * k, gradients, pairs, weights + 2 * k, product->step, 1, KT_LANES);
        }
        if (k < values) {
            add_values(product->sums + 4 * k, gradients, pairs, weights + 2 * k, product->step, 1, values - k);
        }
    }
}

#endif
