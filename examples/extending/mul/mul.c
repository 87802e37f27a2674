/* MUL of two int8 tensors of one shape, and its gradient: products of 17 bits, requantised once.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "mul.h"
#include "kt/numerics.h"

void extending_mul_s8(const extending_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const extending_mul_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        const int32_t product = (x[i] + p.input_offset[0]) * (other[i] + p.input_offset[1]);
        const int32_t scaled = kt_requantize(product, p.multiplier, p.shift);
        y[i] = kt_clamp_with_offset(scaled, p.output_offset, p.clamp[0], p.clamp[1]);
    }
}

void extending_mul_gradient_s8(const extending_mul_gradient_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    const extending_mul_gradient_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        result[i] = kt_saturate8(kt_shift_round(g[i] * (other[i] + p.input_offset), p.shift));
    }
}
