/* FULLY_CONNECTED of one row from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "triple_row.h"

/* Results of any sign. */
void kt_triple_row_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_triple_row(params, x, bias, NULL, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_triple_row(params, x, bias, NULL, y, 0);
}
