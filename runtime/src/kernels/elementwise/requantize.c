/* QUANTIZE from int8 to int8, RELU and RELU6: another scale and zero point, with a clamp.
 *
 *     y = clamp(requantize(x - z_x) + z_y)
 *
 * An int8 value has 256 codes: for many elements a table of all results is faster than its formula for each.
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice. */
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

enum { CODES = 256, MANY = 2 * CODES };

static int8_t requantized(const kt_requantize_params *params, int32_t x)
{
    const int32_t scaled = kt_requantize(x + params->input_offset, params->multiplier, params->shift);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

void kt_requantize_s8(const kt_requantize_params *params, const int8_t *x, int8_t *y)
{
    const kt_requantize_params p = *params;
    int32_t i;
    if (p.size < MANY) {
        for (i = 0; i < p.size; i++) {
            y[i] = requantized(&p, x[i]);
        }
    } else {
        int8_t table[CODES];
        for (i = 0; i < CODES; i++) {
            table[i] = requantized(&p, i - CODES / 2);
        }
        for (i = 0; i < p.size; i++) {
            y[i] = table[x[i] + CODES / 2];
        }
    }
}
