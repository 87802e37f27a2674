/* CONV_2D and FULLY_CONNECTED with a trainable delta V of the weights' shape.
 *
 *     y = clamp(requantize(W (x - z_x) + bias + 2^exponent / s_w V (x - z_x)) + z_y)
 *
 * The second product is rounded twice and saturates at +-2^30. */
#include "conv2d.h"

static int32_t delta_product(const kt_conv2d_params *params, const kt_trainable *delta, const kt_patch *patch,
                             const int8_t *x, int32_t position, int32_t channel)
{
    (void)position;
    return kt_patch_dot(patch, x, delta->weights + channel * kt_kernel_size(&params->window), params->input_offset);
}

void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                        const int8_t *delta_exponent, int8_t *y)
{
    kt_trainable trainable;
    trainable.weights = delta;
    trainable.u = NULL;
    trainable.exponent = *delta_exponent;
    kt_conv2d_walk(params, x, bias, &trainable, y, kt_requantize, delta_product);
}
