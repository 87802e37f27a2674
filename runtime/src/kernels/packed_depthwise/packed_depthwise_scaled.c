/* DEPTHWISE_CONV_2D from packed weights with a trained gain of each channel. */
#include "kt/kernels/packed_depthwise.h"
#include "packed_depthwise.h"

/* Results of any sign. */
void kt_packed_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_packed_depthwise_walk(params, x, scratch, y, 128, 1);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_packed_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                        const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_packed_depthwise_walk(params, x, scratch, y, 0, 1);
}
