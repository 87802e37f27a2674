/* matmul_sum.h: the sum behind one value of a product, two products an instruction where the values lie side by side. */
#ifndef KT_DSP_MATMUL_SUM_H
#define KT_DSP_MATMUL_SUM_H

#include "../../dsp/simd.h"
#include "../matmul.h"

/* Values with their offsets are at most 255 in size: as int16 halves their products are exact. */
static inline int32_t matmul_sum(const kt_matmul *p, const int8_t *x, const int8_t *other)
{
    const uint32_t left = kt_low_halves((uint32_t)p->offset[0], (uint32_t)p->offset[0]);
    const uint32_t right = kt_low_halves((uint32_t)p->offset[1], (uint32_t)p->offset[1]);
    int32_t sum = 0;
    int32_t i, j;
    if (!kt_matmul_is_dense(p)) {
        return kt_matmul_sum(p, x, other);
    }
    for (i = 0; i < p->depth[0]; i++) {
        const int8_t *const a = x + i * p->x[2];
        const int8_t *const b = other + i * p->other[2];
        for (j = 0; j + 4 <= p->depth[1]; j += 4) {
            const uint32_t values = kt_load_word(a + j);
            const uint32_t factors = kt_load_word(b + j);
            sum = kt_add_products(kt_add_even(left, values), kt_add_even(right, factors), sum);
            sum = kt_add_products(kt_add_odd(left, values), kt_add_odd(right, factors), sum);
        }
        for (; j < p->depth[1]; j++) {
            sum += (a[j] + p->offset[0]) * (b[j] + p->offset[1]);
        }
    }
    return sum;
}

#endif
