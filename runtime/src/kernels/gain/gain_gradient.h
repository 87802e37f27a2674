/* gain_gradient.h: from the exact sums of a channel with a trained gain to the gradient of its gain. */
#ifndef KT_GAIN_GRADIENT_H
#define KT_GAIN_GRADIENT_H

#include "kt/kernels/gain.h"
#include "../parameter/parameter_gradient.h"

/* 1 + code * step, within the range of a gain. */
static inline float kt_float_gain(int8_t code, float step)
{
    const float moved = (float)code * step;
    const float gain = 1.0f + moved;
    return gain < 0.125f ? 0.125f : gain > 2.0f ? 2.0f : gain;
}

static inline float kt_gain_step(int8_t exponent)
{
    return kt_power_of_two(kt_clamp(exponent, -126, 127));
}

/* accumulator + (product * result_scale - bias * unit * sum) / gain * scale of channel c, one rounding an operation; product, sum: of
 * g (y - z_y) and of g. */
static inline float kt_accumulate_gain(const kt_gain_gradient_params *params, float accumulator, int32_t product, int32_t sum, int32_t bias,
                                       float gain, float scale, int32_t c)
{
    float share = (float)product * params->result_scale;
    float shift = (float)bias * params->unit[c];
    shift = shift * (float)sum;
    share = share - shift;
    share = share / gain;
    share = share * scale;
    return accumulator + share;
}

/* Channels [first, end), one by one. */
static inline void kt_gain_gradient_of(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                                       const int8_t *gain, float step, float scale, float *accumulator, int32_t first, int32_t end)
{
    const int32_t channels = params->channels;
    int32_t c, position;
    for (c = first; c < end; c++) {
        int32_t product = 0, sum = 0;
        for (position = 0; position < params->positions; position++) {
            product += g[position * channels + c] * (y[position * channels + c] + params->result_offset);
            sum += g[position * channels + c];
        }
        accumulator[c] = kt_accumulate_gain(params, accumulator[c], product, sum, bias[c], kt_float_gain(gain[c], step), scale, c);
    }
}

#endif
