/* MAX_POOL_2D of int16 values. */
#define KT_ELEMENT int16_t
#include "max_pool2d.h"

void kt_max_pool2d_s16(const kt_pool2d_params *params, const int16_t *x, int16_t *y)
{
    kt_max_walk(params, x, y);
}
