/* MUL of two int8 tensors: products of 17 bits, requantised once.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice. */
#include "mul.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_mul_from(params, x, other, y, 0);
}

#endif
