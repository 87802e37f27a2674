/* Gradients of functions of one int8 value, from a table of all slopes. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

#if !KT_MVE

void kt_lookup_gradient_s8(const kt_lookup_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *result)
{
    const int8_t *const slopes = params->slopes + 128;
    const int32_t size = params->size, shift = params->shift;
    int32_t i;
    for (i = 0; i < size; i++) {
        result[i] = kt_saturate8(kt_shift_round(g[i] * slopes[x[i]], shift));
    }
}

#endif
