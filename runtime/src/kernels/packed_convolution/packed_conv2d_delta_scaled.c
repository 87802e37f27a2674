/* Packed layers with a delta and a trained gain of each channel. */
#include "delta_scaled.h"

void kt_packed_conv2d_delta_scaled_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                      const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_run_delta_scaled(params, x, bias, delta, delta_exponent, gain, gain_exponent, y, scratch, kt_packed_conv2d_delta_s8);
}
