/* FULLY_CONNECTED of one row with a trained gain of each channel, from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "triple_gain.h"
#include "triple_row.h"

/* scratch: what the sums start from and end with. */
KT_INLINE void kt_scaled_row(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch, int32_t negative)
{
    int32_t *const start = scratch;
    int32_t *const epilogue = start + params->window.output[KT_CHANNELS];
    kt_gained_channels(params, bias, gain, gain_exponent, start, epilogue);
    kt_triple_row(params, x, start, NULL, epilogue, y, negative);
}

/* Results of any sign. */
void kt_triple_row_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_scaled_row(params, x, bias, gain, gain_exponent, y, scratch, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_scaled_row(params, x, bias, gain, gain_exponent, y, scratch, 0);
}
