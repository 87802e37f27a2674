/* FULLY_CONNECTED of one row from packed weights, as exact words with a trainable delta. */
#include "delta_row.h"

void kt_exact_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y)
{
    kt_run_delta_row(params, x, bias, delta, delta_exponent, y, kt_product_exact_row_sums);
}
