/* CONV_2D and FULLY_CONNECTED from packed weights with a trainable delta. */
#include "delta_sums.h"

void kt_packed_conv2d_delta_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                               const int8_t *delta_exponent, int8_t *y, void *scratch)
{
    kt_run_delta(params, x, bias, delta, delta_exponent, y, scratch, kt_product_sums);
}
