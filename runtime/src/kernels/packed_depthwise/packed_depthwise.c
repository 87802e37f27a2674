/* DEPTHWISE_CONV_2D from packed weights. */
#include "kt/kernels/packed_depthwise.h"
#include "packed_depthwise.h"

/* Results of any sign. */
void kt_packed_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                            void *scratch)
{
    kt_packed_depthwise_walk(params, x, kt_depthwise_starts(params, bias, scratch), y, 128, 0);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_packed_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                 int8_t *y, void *scratch)
{
    kt_packed_depthwise_walk(params, x, kt_depthwise_starts(params, bias, scratch), y, 0, 0);
}
