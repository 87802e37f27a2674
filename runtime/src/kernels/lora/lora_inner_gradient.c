/* Gradient of LoRA's inner tensor: du = B^T g, brought to int8 by the power of two that just fits.
 *
 *     du[p, j] = saturate8(shift_round(sum_c b[c, j] * g[p, c], k)), half up;  k = max(0, bits of the largest sum - 7)
 *
 * The exponent follows the growth of B and is found for each sample. Two passes over the products instead of a
 * buffer: rank * channels products a position are few beside the layer's own. */
#include "kt/architecture.h"
#include "lora_inner_gradient.h"

#if !KT_DSP && !KT_VECTOR

static uint32_t largest_sum(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b)
{
    uint32_t largest = 0;
    int32_t position, j;
    for (position = 0; position < params->positions; position++) {
        for (j = 0; j < params->rank; j++) {
            const uint32_t magnitude = kt_magnitude(kt_lora_product(g, b + j, params->channels, params->rank));
            largest = magnitude > largest ? magnitude : largest;
        }
        g += params->channels;
    }
    return largest;
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    const int32_t shift = kt_fitting_shift(largest_sum(params, g, b));
    int32_t position, j;
    for (position = 0; position < params->positions; position++) {
        for (j = 0; j < params->rank; j++) {
            *du++ = kt_saturate8(kt_shift_round(kt_lora_product(g, b + j, params->channels, params->rank), shift));
        }
        g += params->channels;
    }
    *du_exponent = (int8_t)kt_minimum(*b_exponent + shift, 127);
}

#endif
