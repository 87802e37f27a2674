/* kt_max_pool2d_s8 on cores with Helium: sixteen channels at a time. */
#include "../max_pool2d.h"
#include "kt/architecture.h"

#if KT_MVE
#include <arm_mve.h>

static void maxima(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns, int8_t *result)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int8x16_t low = vdupq_n_s8((int8_t)params->clamp[0]), high = vdupq_n_s8((int8_t)params->clamp[1]);
    int32_t c, row, column;
    for (c = 0; c < channels; c += 16) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(channels - c));
        int8x16_t largest = low;
        for (row = 0; row < patch->rows; row++) {
            const int8_t *values = x + patch->x + c + row * patch->row_x;
            for (column = columns; column > 0; column--, values += patch->span_x) {
                largest = vmaxq_s8(largest, vldrbq_z_s8(values, lanes));
            }
        }
        vstrbq_p_s8(result + c, vminq_s8(largest, high), lanes);
    }
}

void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_max_walk(params, x, y, maxima);
}
#endif
