/* Packed layers with a trained gain of each channel beside LoRA, or with a requantisation that has no short form. */
#include "trained_scaled.h"

void kt_packed_conv2d_lora_scaled_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                     const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_run_trained_scaled(params, x, bias, u, b, u_range, b_exponent, gain, gain_exponent, y, scratch, kt_packed_conv2d_lora_s8);
}
