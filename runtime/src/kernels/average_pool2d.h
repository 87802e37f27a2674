/* average_pool2d.h: the rounding of average pools. */
#ifndef KT_AVERAGE_POOL2D_H
#define KT_AVERAGE_POOL2D_H

#include "window.h"

/* (sum +- count / 2) / count, truncated: half away from zero. A window outside the input gives 0. */
static inline int32_t kt_rounded_mean(int32_t sum, int32_t count)
{
    const int32_t half = count / 2;
    if (count == 0) {
        return 0;
    }
    return (sum > 0 ? sum + half : sum - half) / count;
}

#endif
