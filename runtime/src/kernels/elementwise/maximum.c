/* MAXIMUM of two int8 tensors of one scale. */
#include "maximum.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_maximum_s8(const kt_maximum_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_maximum_from(params, x, other, y, 0);
}

#endif
