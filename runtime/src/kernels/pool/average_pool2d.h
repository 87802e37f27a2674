/* average_pool2d.h: the walk and the rounding of average pools, and channels one by one. Variants for cores with more instructions
 * differ in the function of one window, which the compiler inlines. */
#ifndef KT_AVERAGE_POOL2D_H
#define KT_AVERAGE_POOL2D_H

#include "kt/kernels/pool.h"
#include "../window.h"

/* Type of the values; a file of another one defines it in front of this header. */
#ifndef KT_ELEMENT
#define KT_ELEMENT int8_t
#endif

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
static inline void kt_average_from(const kt_pool2d_params *params, const kt_patch *patch, const KT_ELEMENT *x, int32_t columns,
                                   int32_t count, int32_t first, KT_ELEMENT *result)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t row, column, c;
    for (c = first; c < channels; c++) {
        const KT_ELEMENT *values = x + patch->x + c;
        int32_t sum = 0;
        for (row = 0; row < patch->rows; row++, values += patch->row_x) {
            for (column = 0; column < columns; column++) {
                sum += values[column * patch->span_x];
            }
        }
        result[c] = (KT_ELEMENT)kt_clamp(kt_rounded_mean(sum, count), params->clamp[0], params->clamp[1]);
    }
}

/* The results of one window with `count` elements inside the input, `columns` in each row. */
typedef void kt_average_window(const kt_pool2d_params *params, const kt_patch *patch, const KT_ELEMENT *x, int32_t columns,
                               int32_t count, KT_ELEMENT *result);

static inline void kt_average_walk(const kt_pool2d_params *params, const KT_ELEMENT *x, KT_ELEMENT *y, kt_average_window *average)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            const kt_patch patch = kt_patch_of(window, rows, columns);
            average(params, &patch, x, columns.count, rows.count * columns.count, y + (oy * width + ox) * channels);
        }
    }
}

#endif
