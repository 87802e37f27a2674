/* Stops a gradient where a saved bit is 0: result = g where bit i of the mask is 1 (lowest bit first), else 0. */
#include "kt/architecture.h"
#include "mask.h"

#if !KT_DSP

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    kt_apply_mask_from(params->size, g, mask, result, 0);
}

#endif
