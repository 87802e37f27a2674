/* gain_gradient.h: from the exact sums of a channel with a trained gain to the gradients of its gain and its bias. */
#ifndef KT_GAIN_GRADIENT_H
#define KT_GAIN_GRADIENT_H

#include "kt/kernels/gain.h"
#include "../parameter/parameter_gradient.h"

/* 1 + code * step, within the range of a gain. */
static inline float kt_float_gain(int8_t code, float step)
{
    const float moved = (float)code * step;
    const float gain = 1.0f + moved;
    return gain < 0.0625f ? 0.0625f : gain > 2.0f ? 2.0f : gain;
}

static inline float kt_gain_step(int8_t exponent)
{
    return kt_power_of_two(kt_clamp(exponent, -126, 127));
}

/* accumulator + product * result_scale / gain * scale, one rounding an operation. */
static inline float kt_accumulate_gain(float accumulator, int32_t product, float result_scale, float gain, float scale)
{
    float share = (float)product * result_scale;
    share = share / gain;
    share = share * scale;
    return accumulator + share;
}

/* Channels [first, end), one by one. */
static inline void kt_gain_gradient_of(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int8_t *gain,
                                       float step, float scale, float *accumulator, int32_t first, int32_t end)
{
    const int32_t channels = params->channels;
    int32_t c, position;
    for (c = first; c < end; c++) {
        int32_t product = 0;
        for (position = 0; position < params->positions; position++) {
            product += g[position * channels + c] * (y[position * channels + c] + params->result_offset);
        }
        accumulator[c] = kt_accumulate_gain(accumulator[c], product, params->result_scale, kt_float_gain(gain[c], step), scale);
    }
}

#endif
