/* CONV_2D and FULLY_CONNECTED from exact words, where a weight is -128, with LoRA, requantised in the product. */
#include "packed_lora_walk.h"

void kt_exact_lora_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch)
{
    kt_run_lora(params, x, bias, u, b, *u_range + *b_exponent, y, scratch, kt_product_exact_started_away);
}

void kt_exact_lora_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                            const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch)
{
    kt_run_lora(params, x, bias, u, b, *u_range + *b_exponent, y, scratch, kt_product_exact_started_half_up);
}
