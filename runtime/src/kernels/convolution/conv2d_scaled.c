/* CONV_2D and FULLY_CONNECTED with a trained gain a channel.
 *
 *     y = clamp(requantize(W (x - z_x) (1 + s) + bias) + z_y)
 *
 * The gain acts on the int32 sum, before the one requantisation (gain.h). */
#include "kt/kernels/convolution.h"
#include "conv2d.h"

void kt_conv2d_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                         const int8_t *gain_exponent, int8_t *y)
{
    kt_trainable trainable;
    trainable.weights = NULL;
    trainable.u = NULL;
    trainable.exponent = 0;
    trainable.gain = kt_gain_of(gain, gain_exponent);
    kt_conv2d_walk(params, x, bias, &trainable, y, kt_requantize, NULL);
}
