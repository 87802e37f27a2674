/* FULLY_CONNECTED of one row from exact words, where a weight is -128, with LoRA. */
#include "packed_lora_row.h"

/* Results of any sign. */
void kt_exact_lora_row_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    kt_run_lora_row(params, x, bias, u, b, *u_range + *b_exponent, y, kt_product_exact_row_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_exact_lora_row_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                                const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    kt_run_lora_row(params, x, bias, u, b, *u_range + *b_exponent, y, kt_product_exact_row_half_up);
}
