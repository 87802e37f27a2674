/* Gradient of LoRA's inner tensor: du = B^T g, brought to int8 by the power of two that just fits.
 *
 *     du[p, j] = saturate8(shift_round(sum_c b[c, j] * g[p, c], k)), half up;  k = max(0, bits of the largest sum - 7)
 *
 * The exponent follows the growth of B and is found for each sample. Two passes over the products instead of a
 * buffer: rank * channels products a position are few beside the layer's own. */
#include "kt/architecture.h"
#include "lora_inner_gradient.h"

#if !KT_DSP && !KT_VECTOR

enum { KT_COLUMNS = 4 };

/* Products of a position's gradient with the columns of B from j on, four of them or one; returns how many. Half of the gradients are zero. */
static inline int32_t kt_inner_products(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, int32_t j,
                                        int32_t sums[KT_COLUMNS])
{
    const int32_t rank = params->rank;
    const int8_t *const end = g + params->channels;
    int32_t first = 0, second = 0, third = 0, fourth = 0;
    b += j;
    if (rank - j < KT_COLUMNS) {
        sums[0] = kt_lora_product(g, b, params->channels, rank);
        return 1;
    }
    for (; g != end; b += rank) {
        const int32_t value = *g++;
        if (value != 0) {
            first += value * b[0];
            second += value * b[1];
            third += value * b[2];
            fourth += value * b[3];
        }
    }
    sums[0] = first;
    sums[1] = second;
    sums[2] = third;
    sums[3] = fourth;
    return KT_COLUMNS;
}

static uint32_t largest_sum(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b)
{
    uint32_t largest = 0;
    int32_t position, j, i;
    for (position = 0; position < params->positions; position++, g += params->channels) {
        for (j = 0; j < params->rank;) {
            int32_t sums[KT_COLUMNS];
            const int32_t count = kt_inner_products(params, g, b, j, sums);
            for (i = 0; i < count; i++) {
                const uint32_t magnitude = kt_magnitude(sums[i]);
                largest = magnitude > largest ? magnitude : largest;
            }
            j += count;
        }
    }
    return largest;
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    const int32_t shift = kt_fitting_shift(largest_sum(params, g, b));
    int32_t position, j, i;
    for (position = 0; position < params->positions; position++, g += params->channels) {
        for (j = 0; j < params->rank;) {
            int32_t sums[KT_COLUMNS];
            const int32_t count = kt_inner_products(params, g, b, j, sums);
            for (i = 0; i < count; i++) {
                *du++ = kt_saturate8(kt_shift_round(sums[i], shift));
            }
            j += count;
        }
    }
    *du_exponent = (int8_t)kt_minimum(*b_exponent + shift, 127);
}

#endif
