/* QUANTIZE from int8 to int8, RELU and RELU6: another scale and zero point, with a clamp.
 *
 *     y = clamp(requantize(x - z_x) + z_y)
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice. */
#include "kt/kernels.h"
#include "kt/numerics.h"

void kt_requantize_s8(const kt_requantize_params *params, const int8_t *x, int8_t *y)
{
    const kt_requantize_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        const int32_t scaled = kt_requantize(x[i] + p.input_offset, p.multiplier, p.shift);
        y[i] = kt_clamp_with_offset(scaled, p.output_offset, p.clamp[0], p.clamp[1]);
    }
}
