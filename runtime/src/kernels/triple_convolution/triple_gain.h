/* triple_gain.h: what the sums of a layer with a trained gain start from and end with, in the form of triple.h. */
#ifndef KT_TRIPLE_GAIN_H
#define KT_TRIPLE_GAIN_H

#include "../packed_convolution/packed_gain.h"
#include "triple_conv2d.h"

/* Of channels [first, first + count): start, [count], and epilogue, [count][3]. usual: that of the layer's first channel with a gain of 1. */
static inline void kt_gained_channels(const kt_triple_conv2d_params *params, const int32_t *usual, const int32_t *bias, const kt_gain *gain,
                                      int32_t first, int32_t count, int32_t *start, int32_t *epilogue)
{
    const int32_t limit = params->bias_limit;
    int32_t i;
    for (i = 0; i < count; i++) {
        const int32_t c = first + i, factor = kt_gain_factor(gain, c);
        start[i] = params->fold[c] + kt_clamp(kt_bias_before_gain(bias[c], factor), -limit, limit);
        kt_gained_epilogue(usual + 3 * c, factor, epilogue + 3 * i);
    }
}

#endif
