/* MAX_POOL_2D, int8: the largest element under a window. Input and result share their quantisation; nothing is
 * rounded. A window outside the input gives the low end of the clamp. */
#include "max_pool2d.h"
#include "kt/architecture.h"

#if !KT_DSP

static inline void maxima(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns, int8_t *result)
{
    kt_maxima_from(params, patch, x, columns, 0, result);
}

void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_max_walk(params, x, y, maxima);
}

#endif
