/* Puts a stripe of rows into an image. */
#include <string.h>

#include "kt/kernels/layout.h"

void kt_write_rows_s8(const kt_write_rows_params *params, const void *part, const void *x, void *y)
{
    if (x != NULL && x != y) {
        memcpy(y, x, (size_t)params->size);
    }
    memcpy((int8_t *)y + params->offset, part, (size_t)params->count);
}
