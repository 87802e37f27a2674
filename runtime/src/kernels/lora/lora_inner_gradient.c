/* Gradient of LoRA's inner tensor: du = B^T g, brought to int8 by the power of two that just fits.
 *
 *     du[p, j] = saturate8(shift_round(sum_c b[c, j] * g[p, c], k)), half up;  k = max(0, bits of the largest sum - 7)
 *
 * The exponent follows the growth of B and is found for each sample, without a buffer of sums. */
#include "kt/architecture.h"
#include "lora_inner_gradient.h"

#if !KT_DSP && !KT_VECTOR

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    kt_inner_gradient_in_place(params, g, b, b_exponent, du, du_exponent);
}

#endif
