/* ADD of two int8 tensors of one shape: both brought to a common scale with 20 extra bits, added, requantised once.
 *
 * The common scale is twice the larger one, so that each term has at most 28 bits and their sum fits in int32.
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "add.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_add_from(params, x, other, y, 0);
}

#endif
