/* CONV_2D and FULLY_CONNECTED with three sums in two words, under a ReLU whose zero is the lowest value of int8. */
#include "kt/kernels/triple_convolution.h"
#include "triple_conv2d.h"

static void kt_finish_half_up(const void *layer, const kt_triple_block *block)
{
    kt_finish_results(layer, block, 0);
}

void kt_triple_conv2d_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_triple_conv2d(params, x, bias, y, scratch, kt_triple_half_up, kt_finish_half_up);
}
