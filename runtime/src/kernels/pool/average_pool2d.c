/* AVERAGE_POOL_2D, int8: mean over the part of a window inside the input, rounded half away from zero.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; input and result share their quantisation. */
#include "average_pool2d.h"
#include "kt/kernels/pool.h"
#include "kt/architecture.h"

#if !KT_DSP

static inline void average(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns,
                           int32_t count, int8_t *result)
{
    kt_average_from(params, patch, x, columns, count, 0, result);
}

void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_average_walk(params, x, y, average);
}

#endif
