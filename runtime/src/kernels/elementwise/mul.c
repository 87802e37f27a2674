/* MUL of two int8 tensors: products of 17 bits, requantised once.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice. */
#include "mul.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

/* Of a scale below 1, as most are: the product is shifted right. */
static void mul_right(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t x_offset = params->input_offset[0], other_offset = params->input_offset[1];
    const int32_t multiplier = params->multiplier, down = -params->shift;
    const int32_t zero_point = params->output_offset, low = params->clamp[0], high = params->clamp[1];
    int32_t i;
    for (i = 0; i < params->size; i++) {
        const int32_t scaled = kt_requantize_right((x[i] + x_offset) * (other[i] + other_offset), multiplier, down);
        y[i] = (int8_t)kt_clamp(scaled + zero_point, low, high);
    }
}

void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    if (params->shift < 0 && params->shift > -32) {
        mul_right(params, x, other, y);
    } else {
        kt_mul_from(params, x, other, y, 0);
    }
}

#endif
