/* trained_scaled.h: trained_sums.h with a trained gain of each channel (../gain/gain.h): beside LoRA, or with a requantisation that has no short
 * form. */
#ifndef KT_TRAINED_SCALED_H
#define KT_TRAINED_SCALED_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/halves.h"
#include "../gain/gain.h"
#include "../window.h"

/* kt_packed_conv2d_lora_s8, or that of exact words. */
typedef void kt_trained_kernel(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                               const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);

KT_INLINE void kt_run_trained_scaled(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                     const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch, kt_trained_kernel *kernel)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t *const words = scratch;
    kt_packed_conv2d_lora_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, channels, &own.multiplier, &own.shift, bias, words);
    kernel(&own, x, bias, u, b, u_range, b_exponent, y, words + kt_gained_words(channels));
}

#endif
