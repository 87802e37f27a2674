/* max_pool2d.h: the walk of max pools, of values of any type. */
#ifndef KT_MAX_POOL2D_H
#define KT_MAX_POOL2D_H

#include "kt/kernels/pool.h"
#include "../window.h"

/* Type of the values; a file of another one defines it in front of this header. */
#ifndef KT_ELEMENT
#define KT_ELEMENT int8_t
#endif

/* Below every int16. */
#define KT_NOTHING (INT16_MIN - 1)

/* Largest element of one channel; x points to its first. */
static int32_t kt_channel_maximum(const kt_patch *patch, const KT_ELEMENT *x, int32_t columns)
{
    int32_t largest = KT_NOTHING;
    int32_t row, column;
    for (row = 0; row < patch->rows; row++) {
        const KT_ELEMENT *values = x + row * patch->row_x;
        for (column = 0; column < columns; column++) {
            largest = kt_maximum(largest, values[column * patch->span_x]);
        }
    }
    return largest;
}

/* Channels [c, all) of one position. */
static inline void kt_maxima_from(const kt_pool2d_params *params, const kt_patch *patch, const KT_ELEMENT *x, int32_t columns, int32_t c,
                                  KT_ELEMENT *result)
{
    for (; c < params->window.output[KT_CHANNELS]; c++) {
        const int32_t largest = kt_channel_maximum(patch, x + patch->x + c, columns);
        result[c] = (KT_ELEMENT)kt_clamp(largest, params->clamp[0], params->clamp[1]);
    }
}

/* All channels of one position. */
typedef void kt_maxima(const kt_pool2d_params *params, const kt_patch *patch, const KT_ELEMENT *x, int32_t columns, KT_ELEMENT *result);

static inline void kt_max_walk(const kt_pool2d_params *params, const KT_ELEMENT *x, KT_ELEMENT *y, kt_maxima *maxima)
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
            maxima(params, &patch, x, columns.count, y + (oy * width + ox) * channels);
        }
    }
}

#endif
