/* weighted_sums.h: the sum of rows, each times a weight, four values an instruction where those of a row lie side by side. */
#ifndef KT_MVE_WEIGHTED_SUMS_H
#define KT_MVE_WEIGHTED_SUMS_H

#include "../../mve/dot.h"

#include "../weighted_sums.h"

/* sums[c] = initial + the sum over rows of (weight + weight_offset) row[c], c < 16. */
static inline void kt_sixteen_sums(const int8_t *row, int32_t step, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t initial,
                                   int32_t *sums)
{
    int32x4_t s0 = vdupq_n_s32(initial), s1 = s0, s2 = s0, s3 = s0;
    int32_t j;
    for (j = 0; j < count; j++, row += step) {
        const int32_t weight = weights[j] + weight_offset;
        s0 = vmlaq_n_s32(s0, vldrbq_s32(row), weight);
        s1 = vmlaq_n_s32(s1, vldrbq_s32(row + 4), weight);
        s2 = vmlaq_n_s32(s2, vldrbq_s32(row + 8), weight);
        s3 = vmlaq_n_s32(s3, vldrbq_s32(row + 12), weight);
    }
    vstrwq_s32(sums, s0);
    vstrwq_s32(sums + 4, s1);
    vstrwq_s32(sums + 8, s2);
    vstrwq_s32(sums + 12, s3);
}

/* sum w (x + o) = sum w x + o sum w, modulo 2^32 on the way and exact at the end. */
static inline void weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const int32_t step = rows->step[0];
    int32_t initial = 0, c, j;
    if (rows->step[1] != 1) {
        kt_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
    if (rows->offset != 0) {
        initial = (kt_sum_lanes(weights, count) + weight_offset * count) * rows->offset;
    }
    for (c = 0; c + 16 <= channels; c += 16) {
        kt_sixteen_sums(rows->values + c, step, weights, weight_offset, count, initial, sums + c);
    }
    for (; c < channels; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(channels - c));
        const int8_t *row = rows->values + c;
        int32x4_t sum = vdupq_n_s32(initial);
        for (j = 0; j < count; j++, row += step) {
            sum = vmlaq_n_s32(sum, vldrbq_z_s32(row, rest), weights[j] + weight_offset);
        }
        vstrwq_p_s32(sums + c, sum, rest);
    }
}

#endif
