/* ADD of two int8 tensors of one shape: both brought to a common scale with 20 extra bits, added, requantised once.
 *
 * The common scale is twice the larger one, so that each term has at most 28 bits and their sum fits in int32.
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "kt/architecture.h"
#include "kt/kernels.h"
#include "kt/numerics.h"

#if !KT_MVE

enum { ONE = 1 << 20 };

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_add_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        const int32_t first = kt_requantize((x[i] + p.input_offset[0]) * ONE, p.multiplier[0], p.shift[0]);
        const int32_t second = kt_requantize((other[i] + p.input_offset[1]) * ONE, p.multiplier[1], p.shift[1]);
        const int32_t sum = kt_requantize(first + second, p.multiplier[2], p.shift[2]);
        y[i] = kt_clamp_with_offset(sum, p.output_offset, p.clamp[0], p.clamp[1]);
    }
}
#endif
