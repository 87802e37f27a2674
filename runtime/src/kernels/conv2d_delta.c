/* CONV_2D and FULLY_CONNECTED with a trainable delta V of the weights' shape, or with rows for some channels only.
 *
 *     y = clamp(requantize(W (x - z_x) + bias + 2^exponent / s_w V (x - z_x)) + z_y)
 *
 * The second product is rounded twice and saturates at +-2^30. A gain, where there is one, multiplies what stands
 * before the bias. */
#include "conv2d.h"

static int32_t delta_product(const kt_conv2d_params *params, const kt_trainable *delta, const kt_patch *patch,
                             const int8_t *x, int32_t position, int32_t channel)
{
    const int32_t row = params->rows == NULL ? channel : params->rows[channel];
    (void)position;
    if (row < 0) {
        return 0;
    }
    return kt_patch_dot(patch, x, delta->weights + row * kt_kernel_size(&params->window), params->input_offset);
}

void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                        const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y)
{
    kt_trainable trainable;
    trainable.weights = delta;
    trainable.u = NULL;
    trainable.exponent = *delta_exponent;
    trainable.gain = kt_gain_of(gain, gain_exponent);
    kt_conv2d_walk(params, x, bias, &trainable, y, kt_requantize, delta_product);
}
