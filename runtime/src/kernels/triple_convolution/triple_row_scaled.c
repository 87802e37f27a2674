/* FULLY_CONNECTED of one row with a trained gain of each channel, from the weights of three sums in two words: what the sums start from and end
 * with is found for four channels at a time. */
#include "kt/kernels/triple_convolution.h"
#include "triple_row.h"

/* Results of any sign. */
void kt_triple_row_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    kt_triple_row(params, x, bias, &trained, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    kt_triple_row(params, x, bias, &trained, y, 0);
}
