/* matmul_sum.h: the sum behind one value of a product, 16 products an instruction where the values lie side by side. */
#ifndef KT_MVE_MATMUL_SUM_H
#define KT_MVE_MATMUL_SUM_H

#include "../../mve/dot.h"
#include "../matmul.h"

/* sum (a + m) (b + n) = a . b + m sum b + n sum a + depth m n, modulo 2^32 on the way and exact at the end. */
static inline int32_t matmul_sum(const kt_matmul *p, const int8_t *x, const int8_t *other)
{
    const int32_t depth = p->depth[1];
    uint32_t sum = 0;
    int32_t i;
    if (!kt_matmul_is_dense(p)) {
        return kt_matmul_sum(p, x, other);
    }
    for (i = 0; i < p->depth[0]; i++) {
        const int8_t *const a = x + i * p->x[2];
        const int8_t *const b = other + i * p->other[2];
        sum += (uint32_t)kt_dot_one(a, b, depth, depth * p->offset[0] * p->offset[1]);
        if (p->offset[0] != 0) {
            sum += (uint32_t)(p->offset[0] * kt_sum_lanes(b, depth));
        }
        if (p->offset[1] != 0) {
            sum += (uint32_t)(p->offset[1] * kt_sum_lanes(a, depth));
        }
    }
    return (int32_t)sum;
}

/* kt_matmul_sums. */
static inline void matmul_sums(const kt_matmul *p, const int8_t *x, const int8_t *other, int32_t sums[4])
{
    int32_t c;
    for (c = 0; c < 4; c++) {
        sums[c] = matmul_sum(p, x, other + c * p->other[1]);
    }
}

#endif
