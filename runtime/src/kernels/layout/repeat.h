/* repeat.h: one value of a repetition, and of its gradient. */
#ifndef KT_SRC_KERNELS_LAYOUT_REPEAT_H
#define KT_SRC_KERNELS_LAYOUT_REPEAT_H

#include "kt/kernels/layout.h"
#include "kt/numerics.h"

enum { KT_REPEATED_AT_ONCE = 16 }; /* values that a kernel may read before it writes what they make */

static inline void kt_repeat_one(const kt_repeat_params *params, int32_t i, const int8_t *x, int8_t *y)
{
    const int8_t value = x[i];
    int8_t *const to = y + i * params->times;
    int32_t k;
    if (params->times == 2) {
        to[0] = value;
        to[1] = value;
        return;
    }
    for (k = 0; k < params->times; k++) {
        to[k] = value;
    }
}

static inline void kt_sum_repeated(const kt_repeat_gradient_params *params, int32_t i, const int8_t *g, int8_t *dx)
{
    const int8_t *const from = g + i * params->times;
    int32_t sum = from[0] + (params->times > 1 ? from[1] : 0), k;
    for (k = 2; k < params->times; k++) {
        sum += from[k];
    }
    dx[i] = kt_saturate8(kt_shift_round(sum, params->shift));
}

#endif
