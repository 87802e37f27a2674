/* PRELU of an int8 tensor with slopes of the same shape.
 *
 * Source: TensorFlow Lite reference kernel; rounded twice. */
#include "prelu.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_prelu_s8(const kt_prelu_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_prelu_from(params, x, other, y, 0);
}

#endif
