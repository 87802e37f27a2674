/* squared_difference.h: the square of the difference of two tensors, element by element. */
#ifndef KT_SQUARED_DIFFERENCE_H
#define KT_SQUARED_DIFFERENCE_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int8_t kt_squared_difference_element(const kt_squared_difference_params *p, int32_t x, int32_t other)
{
    const int32_t one = 1 << 7;
    const int32_t a = kt_requantize((x + p->input_offset[0]) * one, p->multiplier[0], p->shift[0]);
    const int32_t b = kt_requantize((other + p->input_offset[1]) * one, p->multiplier[1], p->shift[1]);
    const int32_t square = (a - b) * (a - b);
    return kt_clamp_with_offset(kt_requantize(square, p->multiplier[2], p->shift[2]), p->output_offset, -128, 127);
}

/* Elements from `first` on. */
static inline void kt_squared_difference_from(const kt_squared_difference_params *params, const int8_t *x,
                                              const int8_t *other, int8_t *y, int32_t first)
{
    const kt_squared_difference_params p = *params;
    int32_t i;
    for (i = first; i < p.size; i++) {
        y[i] = kt_squared_difference_element(&p, x[i], other[i]);
    }
}

#endif
