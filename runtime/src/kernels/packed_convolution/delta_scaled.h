/* delta_scaled.h: packed layers with a delta and a trained gain of each channel (../gain/gain.h). */
#ifndef KT_DELTA_SCALED_H
#define KT_DELTA_SCALED_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/halves.h"
#include "../gain/gain.h"
#include "../window.h"

/* kt_packed_conv2d_delta_s8, or that of exact words. */
typedef void kt_delta_kernel(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                             const int8_t *delta_exponent, int8_t *y, void *scratch);

KT_INLINE void kt_run_delta_scaled(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                   const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch,
                                   kt_delta_kernel *kernel)
{
    const int32_t channels = params->layer.window.output[KT_CHANNELS];
    int32_t *const words = scratch;
    kt_packed_conv2d_delta_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, channels, &own.layer.multiplier, &own.layer.shift, bias, words);
    kernel(&own, x, bias, delta, delta_exponent, y, words + kt_gained_words(channels));
}

#endif
