/* Stops a gradient where the forward result was clamped: result = g where low < y < high, else 0. */
#include "kt/architecture.h"
#include "mask.h"

#if !KT_DSP

void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    kt_mask_gradient_from(*params, g, y, result, 0);
}

#endif
