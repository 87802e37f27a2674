/* DEPTHWISE_CONV_2D with three sums in two words, under a ReLU whose zero is the lowest value of int8. */
#include "kt/kernels/triple_depthwise.h"
#include "triple_depthwise.h"

void kt_triple_depthwise_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_triple_depthwise(params, x, bias, NULL, y, scratch, 0, KT_TWO_ROWS(half_up), KT_THREE_ROWS(half_up));
}
