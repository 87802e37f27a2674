/* CONV_2D and FULLY_CONNECTED from exact words, where a weight is -128, with a trained gain of each channel. */
#include "packed_scaled.h"

/* Results of any sign. */
void kt_exact_conv2d_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_run_scaled(params, x, bias, gain, gain_exponent, y, scratch, kt_product_exact_scaled_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_exact_conv2d_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_run_scaled(params, x, bias, gain, gain_exponent, y, scratch, kt_product_exact_scaled_half_up);
}

/* One row of a fully connected layer, read where it lies. */
void kt_exact_row_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_scaled_row(params, x, bias, gain, gain_exponent, y, scratch, kt_product_exact_scaled_row_away);
}

void kt_exact_row_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_scaled_row(params, x, bias, gain, gain_exponent, y, scratch, kt_product_exact_scaled_row_half_up);
}
