/* Depthwise layers with three sums in two words, a delta and a trained gain of each channel (gain.h). */
#include "kt/kernels/triple_depthwise.h"
#include "../gain/gain.h"
#include "../window.h"

void kt_triple_depthwise_delta_scaled_s8(const kt_triple_depthwise_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                         const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y,
                                         void *scratch)
{
    const int32_t channels = params->layer.window.output[KT_CHANNELS];
    int32_t *const words = scratch;
    kt_triple_depthwise_delta_params own = *params;
    bias = kt_gained_layer(gain, gain_exponent, channels, &own.layer.multiplier, &own.layer.shift, bias, words);
    kt_triple_depthwise_delta_s8(&own, x, bias, delta, delta_exponent, y, words + kt_gained_words(channels));
}
