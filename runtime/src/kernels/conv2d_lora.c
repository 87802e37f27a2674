/* CONV_2D and FULLY_CONNECTED with LoRA: an integer path into the accumulator, before the one requantisation.
 *
 *     y = clamp(requantize(W (x - z_x) + bias + alpha / (rank s_w) 2^(range + b_exponent) B u) + z_y)
 *
 * u comes from kt_down_projection_s8. The path is rounded twice and saturates at +-2^30. A gain, where there is one,
 * multiplies what stands before the bias. */
#include "conv2d.h"

/* sum_j b[c, j] * u[p, j] */
static int32_t up_projection(const kt_conv2d_params *params, const kt_trainable *lora, const kt_patch *patch,
                             const int8_t *x, int32_t position, int32_t channel)
{
    const int32_t rank = params->rank;
    const int8_t *u = lora->u + position * rank;
    const int8_t *b = lora->weights + channel * rank;
    int32_t sum = 0;
    int32_t j;
    (void)patch;
    (void)x;
    for (j = 0; j < rank; j++) {
        sum += b[j] * u[j];
    }
    return sum;
}

void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                       const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                       const int8_t *gain_exponent, int8_t *y)
{
    kt_trainable lora;
    lora.weights = b;
    lora.u = u;
    lora.exponent = *u_range + *b_exponent;
    lora.gain = kt_gain_of(gain, gain_exponent);
    kt_conv2d_walk(params, x, bias, &lora, y, kt_requantize, up_projection);
}
