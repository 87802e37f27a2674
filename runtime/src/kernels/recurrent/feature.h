/* What a filter of SVDF makes of the present input. */
#ifndef KT_RECURRENT_FEATURE_H
#define KT_RECURRENT_FEATURE_H

#include "kt/kernels/recurrent.h"
#include "kt/numerics.h"

/* In units of the state, limited to [low, high], without its zero point. */
static inline int32_t feature(const kt_svdf_params *p, const int8_t *weights, const int8_t *x, int32_t low, int32_t high)
{
    int32_t sum = 0;
    int32_t i;
    for (i = 0; i < p->depth; i++) {
        sum += weights[i] * (x[i] + p->input_offset);
    }
    return kt_clamp(kt_requantize(sum, p->feature_multiplier, p->feature_shift), low, high);
}

#endif
