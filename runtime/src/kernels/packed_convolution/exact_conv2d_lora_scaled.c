/* Layers of exact words with a trained gain of each channel (gain.h) beside LoRA, or with a requantisation that has no short form. */
#include "kt/kernels/packed_convolution.h"
#include "../gain/gain.h"
#include "../window.h"

void kt_exact_conv2d_lora_scaled_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                     const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t *const words = scratch;
    kt_packed_conv2d_lora_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, channels, &own.multiplier, &own.shift, bias, words);
    kt_exact_conv2d_lora_s8(&own, x, bias, u, b, u_range, b_exponent, y, words + kt_gained_words(channels));
}
