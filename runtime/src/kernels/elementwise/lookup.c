/* Functions of one int8 value, from a table of all results. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if !KT_DSP

void kt_lookup_s8(const kt_lookup_params *params, const int8_t *x, int8_t *y)
{
    const int8_t *const table = params->table + 128;
    const int32_t size = params->size;
    int32_t i;
    for (i = 0; i < size; i++) {
        y[i] = table[x[i]];
    }
}

#endif
