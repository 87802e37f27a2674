/* gradient_sum.h: the sum of two gradients, element by element. */
#ifndef KT_GRADIENT_SUM_H
#define KT_GRADIENT_SUM_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

/* Elements from `first` on. */
static inline void kt_gradient_sum_from(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other,
                                        int8_t *result, int32_t first)
{
    const kt_gradient_sum_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        const int32_t sum = g[i] * p.multiplier[0] + other[i] * p.multiplier[1];
        result[i] = kt_saturate8(kt_shift_round(sum, p.shift));
    }
}

#endif
