/* Gradient of a new head to its input: the sums of kt_conv2d_path_input_gradient_s8, brought to int8 by the power of two that just fits.
 *
 * What a head that starts near zero hands on grows with it, so the power is found for each sample. Two passes over the sums instead of
 * a buffer: a head is small beside the layers before it. */
#include "kt/kernels/convolution.h"
#include "conv2d_path_gradient.h"

static __attribute__((noinline)) uint32_t walk(const kt_conv2d_input_gradient_params *params, const int8_t *g, const kt_gain *gain,
                                               const kt_path *path, int32_t direction, int32_t shift, int8_t *dx)
{
    return kt_walk_path_gradient(params, g, gain, path, direction, shift, dx);
}

void kt_new_head_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int32_t *exponent, const int8_t *gain,
                                   const int8_t *gain_exponent, const int8_t *delta_g, const int8_t *delta, const int8_t *delta_exponent,
                                   int8_t *dx, int32_t *dx_exponent)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_path path = {delta_g, delta, params->path_channels, params->path_rows, params->path_multiplier, params->path_shift + *delta_exponent};
    const int32_t direction = kt_direction(g, dx);
    const int32_t shift = kt_fitting_shift(walk(params, g, &trained, &path, direction, 0, NULL));
    walk(params, g, &trained, &path, direction, shift, dx);
    *dx_exponent = *exponent + shift;
}
