/* kt_packed_conv2d_lora_s8 from exact words, where a weight is -128 or sums may be beyond 24 bits. */
#include "kt/kernels/packed_convolution.h"
#include "trained_sums.h"

void kt_exact_conv2d_lora_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch)
{
    kt_run_trained(params, x, bias, u, b, u_range, b_exponent, y, scratch, kt_product_exact_sums, kt_packed_trained_walk);
}
