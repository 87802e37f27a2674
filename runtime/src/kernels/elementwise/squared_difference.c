/* SQUARED_DIFFERENCE of two int8 tensors: both brought to a common scale with 7 extra bits; the square has at most 31
 * bits.
 *
 * Source: TensorFlow Lite Micro; every requantisation rounds twice. */
#include "squared_difference.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other,
                              int8_t *y)
{
    kt_squared_difference_from(params, x, other, y, 0);
}

#endif
