/* A row of a table for each token. */
#include <string.h>

#include "kt/kernels/layout.h"

void kt_embedding_s8(const kt_embedding_params *params, const int8_t *x, const int8_t *table, int8_t *y)
{
    const kt_embedding_params p = *params;
    int32_t i;
    for (i = 0; i < p.count; i++) {
        memcpy(y + i * p.depth, table + (x[i] + p.offset) * p.depth, (size_t)p.depth);
    }
}
