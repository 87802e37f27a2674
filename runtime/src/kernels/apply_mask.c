/* Stops a gradient where a saved bit is 0: result = g where bit i of the mask is 1 (lowest bit first), else 0. */
#include "kt/kernels.h"

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t size = params->size;
    uint32_t bits = 0;
    int32_t i;
    for (i = 0; i < size; i++) {
        bits = (i & 7) == 0 ? mask[i >> 3] : bits >> 1;
        result[i] = (bits & 1) ? g[i] : 0;
    }
}
