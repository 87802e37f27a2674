/* AVERAGE_POOL_2D of int16 values. */
#define KT_ELEMENT int16_t
#include "average_pool2d.h"

static inline void average(const kt_pool2d_params *params, const kt_patch *patch, const int16_t *x, int32_t columns,
                           int32_t count, int16_t *result)
{
    kt_average_from(params, patch, x, columns, count, 0, result);
}

void kt_average_pool2d_s16(const kt_pool2d_params *params, const int16_t *x, int16_t *y)
{
    kt_average_walk(params, x, y, average);
}
