/* DEPTHWISE_CONV_2D from packed weights. */
#include "kt/kernels/packed_depthwise.h"
#include "packed_depthwise.h"

static const int32_t *start_of(const kt_packed_depthwise_params *params, const int32_t *bias, int32_t *scratch)
{
    return kt_packed_bias(bias, params->fold, params->bias_limit, params->window.input[KT_CHANNELS], scratch);
}

/* Results of any sign. */
void kt_packed_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                            void *scratch)
{
    kt_packed_depthwise_walk(params, x, start_of(params, bias, scratch), y, 128, 0);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_packed_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                 int8_t *y, void *scratch)
{
    kt_packed_depthwise_walk(params, x, start_of(params, bias, scratch), y, 0, 0);
}
