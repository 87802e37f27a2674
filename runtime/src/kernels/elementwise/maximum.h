/* maximum.h: the larger of two tensors, element by element. */
#ifndef KT_MAXIMUM_H
#define KT_MAXIMUM_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int8_t kt_maximum_element(const kt_maximum_params *p, int32_t x, int32_t other)
{
    (void)p;
    return (int8_t)kt_maximum(x, other);
}

/* Elements from `first` on. */
static inline void kt_maximum_from(const kt_maximum_params *params, const int8_t *x, const int8_t *other, int8_t *y,
                                   int32_t first)
{
    const kt_maximum_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_maximum_element(&p, x[i], other[i]);
    }
}

#endif
