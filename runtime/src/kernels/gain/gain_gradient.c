/* Gradient of a trained gain, from the int8 result of the layer: no accumulator is kept.
 *
 *     accumulator[c] += (s_y sum_p g (y - z_y) - b sum_p g) / max(1 + s, 1/16) * (scale * 2^exponent), b = bias * unit
 *
 * Both sums are exact in int32; then one float32 rounding an operation. */
#include "kt/kernels/gain.h"
#include "../parameter/parameter_gradient.h"

static const float smallest_gain = 0.0625f;

/* s_y sum_p g (y - z_y) - b sum_p g; g and y point to the channel's first value. */
static float correlation(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, float bias)
{
    const int32_t channels = params->channels;
    const int32_t positions = params->positions;
    int32_t product = 0, sum = 0;
    int32_t position;
    float scaled, share;
    for (position = 0; position < positions; position++) {
        product += g[position * channels] * (y[position * channels] + params->result_offset);
        sum += g[position * channels];
    }
    scaled = (float)product * params->result_scale;
    share = bias * (float)sum;
    return scaled - share;
}

void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                      const int8_t *gain, const int8_t *gain_exponent, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const float step = kt_power_of_two(kt_clamp(*gain_exponent, -126, 127));
    int32_t c;
    for (c = 0; c < params->channels; c++) {
        const float real_bias = (float)bias[c] * params->unit[c];
        const float difference = correlation(params, g + c, y + c, real_bias);
        const float moved = (float)gain[c] * step;
        float factor = 1.0f + moved;
        float product;
        factor = factor > smallest_gain ? factor : smallest_gain;
        product = difference / factor;
        product = product * scale;
        accumulator[c] = accumulator[c] + product;
    }
}
