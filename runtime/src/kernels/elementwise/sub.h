/* sub.h: the difference of two tensors, element by element. */
#ifndef KT_SUB_H
#define KT_SUB_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

/* The difference in steps of the result, of values with `one` steps in front of the point. */
static inline int32_t kt_sub_scaled(const kt_sub_params *p, int32_t x, int32_t other, int32_t one)
{
    const int32_t a = kt_requantize((x + p->input_offset[0]) * one, p->multiplier[0], p->shift[0]);
    const int32_t b = kt_requantize((other + p->input_offset[1]) * one, p->multiplier[1], p->shift[1]);
    return kt_requantize(a - b, p->multiplier[2], p->shift[2]);
}

static inline int8_t kt_sub_element(const kt_sub_params *p, int32_t x, int32_t other)
{
    return kt_clamp_with_offset(kt_sub_scaled(p, x, other, INT32_C(1) << 20), p->output_offset, p->clamp[0],
                                p->clamp[1]);
}

/* Elements from `first` on. */
static inline void kt_sub_from(const kt_sub_params *params, const int8_t *x, const int8_t *other, int8_t *y,
                               int32_t first)
{
    const kt_sub_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_sub_element(&p, x[i], other[i]);
    }
}

#endif
