/* One row of a fully connected layer from exact words, with what a trained layer adds to the sums, or with a requantisation that has no packed form. */
#include "kt/kernels/packed_convolution.h"
#include "trained_sums.h"

void kt_exact_sums_row_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    kt_run_trained(params, x, bias, u, b, u_range, b_exponent, y, NULL, kt_product_exact_row_sums, kt_packed_trained_row);
}
