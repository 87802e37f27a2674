/* DEPTHWISE_CONV_2D with three sums in two words, results of any sign. */
#include "kt/kernels/triple_depthwise.h"
#include "triple_depthwise.h"

void kt_triple_depthwise_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_triple_depthwise(params, x, bias, NULL, y, scratch, 128, KT_TWO_ROWS(away), KT_THREE_ROWS(away));
}
