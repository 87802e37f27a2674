/* mul.h: the product of two tensors, element by element. */
#ifndef KT_MUL_H
#define KT_MUL_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

/* The product in steps of the result. */
static inline int32_t kt_mul_scaled(const kt_mul_params *p, int32_t x, int32_t other)
{
    const int32_t product = (x + p->input_offset[0]) * (other + p->input_offset[1]);
    return kt_requantize(product, p->multiplier, p->shift);
}

static inline int8_t kt_mul_element(const kt_mul_params *p, int32_t x, int32_t other)
{
    return kt_clamp_with_offset(kt_mul_scaled(p, x, other), p->output_offset, p->clamp[0], p->clamp[1]);
}

/* Elements from `first` on. */
static inline void kt_mul_from(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y,
                               int32_t first)
{
    const kt_mul_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_mul_element(&p, x[i], other[i]);
    }
}

#endif
