/* AVERAGE_POOL_2D, int8: mean over the part of a window inside the input, rounded half away from zero.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; input and result share their quantisation. */
#include "average_pool2d.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
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
            const int32_t count = rows.count * columns.count;
            kt_average_from(params, &patch, x, columns.count, count, 0, y + (oy * width + ox) * channels);
        }
    }
}

#endif
