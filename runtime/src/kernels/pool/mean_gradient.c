/* Gradient of MEAN: every element of the reduced axis takes g; the scale absorbs 1 / count, nothing is rounded. */
#include <string.h>

#include "kt/kernels/pool.h"

void kt_mean_gradient_s8(const kt_mean_params *params, const int8_t *g, int8_t *dx)
{
    const int32_t inner = params->extent[2];
    int32_t o, n;
    for (o = 0; o < params->extent[0]; o++) {
        if (inner == 1) { /* the last axis: as many times the same byte */
            memset(dx, *g++, (size_t)params->extent[1]);
            dx += params->extent[1];
            continue;
        }
        for (n = 0; n < params->extent[1]; n++) {
            memcpy(dx, g, (size_t)inner);
            dx += inner;
        }
        g += inner;
    }
}
