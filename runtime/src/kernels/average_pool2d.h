/* average_pool2d.h: the rounding of average pools, and channels one by one. */
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

/* Channels from `first` on of a window with `count` elements inside the input; x points to the image. */
static inline void kt_average_from(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns,
                                   int32_t count, int32_t first, int8_t *result)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t row, column, c;
    for (c = first; c < channels; c++) {
        const int8_t *values = x + patch->x + c;
        int32_t sum = 0;
        for (row = 0; row < patch->rows; row++, values += patch->row_x) {
            for (column = 0; column < columns; column++) {
                sum += values[column * patch->span_x];
            }
        }
        result[c] = (int8_t)kt_clamp(kt_rounded_mean(sum, count), params->clamp[0], params->clamp[1]);
    }
}

#endif
