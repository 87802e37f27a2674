/* kt_average_pool2d_s8 on cores with Helium: sums of four channels at a time. The formula and its rounding are those of
 * ../average_pool2d.c. */
#include "kt/architecture.h"
#include "kt/kernels/pool.h"

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

static inline void average(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns,
                           int32_t count, int8_t *result)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c, i;
    for (c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        int32_t sums[4];
        vstrwq_s32(sums, sums_of(patch, x + patch->x + c, columns, lanes));
        for (i = 0; i < kt_minimum(channels - c, 4); i++) {
            result[c + i] = (int8_t)kt_clamp(kt_rounded_mean(sums[i], count), params->clamp[0], params->clamp[1]);
        }
    }
}

void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_average_walk(params, x, y, average);
}
#endif
