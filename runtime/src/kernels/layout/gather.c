/* GATHER with constant indices along one axis or two neighbouring ones: also TILE, MIRROR_PAD and RESIZE_NEAREST_NEIGHBOR. */
#include <string.h>

#include "kt/kernels/layout.h"

void kt_gather_s8(const kt_gather_params *params, const int8_t *x, int8_t *y)
{
    const kt_gather_params p = *params;
    int32_t o, row, column;
    for (o = 0; o < p.outer; o++) {
        for (row = 0; row < p.output[0]; row++) {
            const int8_t *const line = x + p.rows[row] * p.input[1] * p.block;
            for (column = 0; column < p.output[1]; column++) {
                memcpy(y, line + p.columns[column] * p.block, (size_t)p.block);
                y += p.block;
            }
        }
        x += p.input[0] * p.input[1] * p.block;
    }
}
