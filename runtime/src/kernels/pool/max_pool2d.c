/* MAX_POOL_2D, int8: the largest element under a window. Input and result share their quantisation; nothing is
 * rounded. A window outside the input gives the low end of the clamp. */
#include "kt/kernels/pool.h"
#include "../window.h"

/* Below every int8. */
enum { NOTHING = -129 };

/* Largest element of one channel; x points to its first. */
static int32_t channel_maximum(const kt_patch *patch, const int8_t *x, int32_t columns)
{
    int32_t largest = NOTHING;
    int32_t row, column;
    for (row = 0; row < patch->rows; row++) {
        const int8_t *values = x + row * patch->row_x;
        for (column = 0; column < columns; column++) {
            largest = kt_maximum(largest, values[column * patch->span_x]);
        }
    }
    return largest;
}

void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox, c;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            int8_t *const result = y + (oy * width + ox) * channels;
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            const kt_patch patch = kt_patch_of(window, rows, columns);
            for (c = 0; c < channels; c++) {
                const int32_t largest = channel_maximum(&patch, x + patch.x + c, columns.count);
                result[c] = (int8_t)kt_clamp(largest, params->clamp[0], params->clamp[1]);
            }
        }
    }
}
