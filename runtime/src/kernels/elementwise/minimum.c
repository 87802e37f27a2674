/* MINIMUM of two int8 tensors of one scale. */
#include "minimum.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_minimum_s8(const kt_minimum_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    kt_minimum_from(params, x, other, y, 0);
}

#endif
