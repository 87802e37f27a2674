/* Stops a gradient where the forward result was clamped: result = g where low < y < high, else 0. */
#include "kt/kernels.h"

void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    const int32_t size = params->size;
    const int32_t low = params->low;
    const int32_t high = params->high;
    int32_t i;
    for (i = 0; i < size; i++) {
        result[i] = y[i] > low && y[i] < high ? g[i] : 0;
    }
}
