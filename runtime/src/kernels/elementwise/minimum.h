/* minimum.h: the smaller of two tensors, element by element. */
#ifndef KT_MINIMUM_H
#define KT_MINIMUM_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int8_t kt_minimum_element(const kt_minimum_params *p, int32_t x, int32_t other)
{
    (void)p;
    return (int8_t)kt_minimum(x, other);
}

/* Elements from `first` on. */
static inline void kt_minimum_from(const kt_minimum_params *params, const int8_t *x, const int8_t *other, int8_t *y,
                                   int32_t first)
{
    const kt_minimum_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_minimum_element(&p, x[i], other[i]);
    }
}

#endif
