/* kt_average_pool2d_s8 on cores with Helium: sums of four channels at a time. The formula and its rounding are those of
 * ../average_pool2d.c. */
#include "kt/architecture.h"
#include "kt/kernels.h"

#if KT_MVE
#include <arm_mve.h>

#include "../average_pool2d.h"

/* Sums of the channels in `lanes`; x points to their first element. */
static int32x4_t sums_of(const kt_patch *patch, const int8_t *x, int32_t columns, mve_pred16_t lanes)
{
    int32x4_t sum = vdupq_n_s32(0);
    int32_t row, column;
    for (row = 0; row < patch->rows; row++) {
        const int8_t *value = x + row * patch->row_x;
        for (column = columns; column > 0; column--, value += patch->span_x) {
            sum = vaddq_s32(sum, vldrbq_z_s32(value, lanes));
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
    int32_t oy, ox, c, i;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            int8_t *const result = y + (oy * width + ox) * channels;
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            const kt_patch patch = kt_patch_of(window, rows, columns);
            const int32_t count = rows.count * columns.count;
            for (c = 0; c < channels; c += 4) {
                const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
                int32_t sums[4];
                vstrwq_s32(sums, sums_of(&patch, x + patch.x + c, columns.count, lanes));
                for (i = 0; i < kt_minimum(channels - c, 4); i++) {
                    result[c + i] = (int8_t)kt_clamp(kt_rounded_mean(sums[i], count), params->clamp[0], params->clamp[1]);
                }
            }
        }
    }
}
#endif
