/* weighted_sums.h: the sum of rows, each times a weight, four values an instruction where those of a row lie side by side. */
#ifndef KT_MVE_WEIGHTED_SUMS_H
#define KT_MVE_WEIGHTED_SUMS_H

#include <arm_mve.h>

#include "../weighted_sums.h"

static inline void weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const int32x4_t offset = vdupq_n_s32(rows->offset);
    int32_t c, j;
    if (rows->step[1] != 1) {
        kt_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
    for (c = 0; c < channels; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(channels - c));
        const int8_t *row = rows->values + c;
        int32x4_t sum = vdupq_n_s32(0);
        for (j = 0; j < count; j++, row += rows->step[0]) {
            sum = vmlaq_n_s32(sum, vaddq_s32(vldrbq_z_s32(row, rest), offset), weights[j] + weight_offset);
        }
        vstrwq_p_s32(sums + c, sum, rest);
    }
}

#endif
