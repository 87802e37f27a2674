/* prelu.h: a tensor, times a slope where it is negative, element by element. */
#ifndef KT_PRELU_H
#define KT_PRELU_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int8_t kt_prelu_element(const kt_prelu_params *p, int32_t x, int32_t other)
{
    const int32_t value = x + p->input_offset[0];
    const int32_t scaled = value >= 0 ? kt_requantize(value, p->multiplier[0], p->shift[0])
                                      : kt_requantize(value * (other + p->input_offset[1]), p->multiplier[1],
                                                      p->shift[1]);
    return kt_clamp_with_offset(scaled, p->output_offset, -128, 127);
}

/* Elements from `first` on. */
static inline void kt_prelu_from(const kt_prelu_params *params, const int8_t *x, const int8_t *other, int8_t *y,
                                 int32_t first)
{
    const kt_prelu_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_prelu_element(&p, x[i], other[i]);
    }
}

#endif
