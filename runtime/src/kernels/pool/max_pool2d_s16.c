/* MAX_POOL_2D of int16 values. */
#define KT_ELEMENT int16_t
#include "max_pool2d.h"

static inline void maxima(const kt_pool2d_params *params, const kt_patch *patch, const int16_t *x, int32_t columns, int16_t *result)
{
    kt_maxima_from(params, patch, x, columns, 0, result);
}

void kt_max_pool2d_s16(const kt_pool2d_params *params, const int16_t *x, int16_t *y)
{
    kt_max_walk(params, x, y, maxima);
}
