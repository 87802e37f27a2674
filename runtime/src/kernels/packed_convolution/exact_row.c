/* FULLY_CONNECTED of one row from exact words, where a weight is -128. The row is read where it lies. */
#include "kt/kernels/packed_convolution.h"
#include "packed_conv2d.h"

/* Results of any sign. */
void kt_exact_row_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_packed_row(params, x, bias, y, kt_product_exact_row_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_exact_row_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_packed_row(params, x, bias, y, kt_product_exact_row_half_up);
}
