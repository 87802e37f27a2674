/* AVERAGE_POOL_2D, int8: mean over the part of a window inside the input, rounded half away from zero.
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; input and result share their quantisation. */
#include "average_pool2d.h"
#include "kt/architecture.h"

#if !KT_MVE

/* Sum of one channel; x points to its first element. */
static int32_t channel_sum(const kt_patch *patch, const int8_t *x, int32_t columns)
{
    int32_t sum = 0;
    int32_t row, column;
    for (row = 0; row < patch->rows; row++) {
        const int8_t *values = x + row * patch->row_x;
        for (column = 0; column < columns; column++) {
            sum += values[column * patch->span_x];
        }
    }
    return sum;
}

void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
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
            const int32_t count = rows.count * columns.count;
            for (c = 0; c < channels; c++) {
                const int32_t sum = channel_sum(&patch, x + patch.x + c, columns.count);
                result[c] = (int8_t)kt_clamp(kt_rounded_mean(sum, count), params->clamp[0], params->clamp[1]);
            }
        }
    }
}
#endif
