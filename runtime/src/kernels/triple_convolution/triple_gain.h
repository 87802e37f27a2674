/* triple_gain.h: what the sums of a layer with a trained gain start from and end with, in the form of triple.h. */
#ifndef KT_TRIPLE_GAIN_H
#define KT_TRIPLE_GAIN_H

#include "../packed_convolution/packed_gain.h"
#include "triple_conv2d.h"

/* Of each channel: start, [channels], and epilogue, [channels][3]. */
static inline void kt_gained_channels(const kt_triple_conv2d_params *params, const int32_t *bias, const int8_t *gain, const int8_t *gain_exponent,
                                      int32_t *start, int32_t *epilogue)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t channels = params->window.output[KT_CHANNELS], limit = params->bias_limit;
    const int32_t *const usual = kt_triple_epilogue(params->stream, channels, params->length);
    int32_t c;
    for (c = 0; c < channels; c++) {
        const int32_t factor = kt_gain_factor(&trained, c);
        start[c] = params->fold[c] + kt_clamp(kt_bias_before_gain(bias[c], factor), -limit, limit);
        kt_gained_epilogue(usual + 3 * c, factor, epilogue + 3 * c);
    }
}

#endif
