/* SUB of two int8 tensors: both brought to a common scale with 20 extra bits, subtracted, requantised once.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "sub.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_sub_s8(const kt_sub_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_sub_from(params, x, other, y, 0);
}

#endif
