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

/* kt_matmul_sums: each word of x is spread into halves once for four columns. */
static inline void matmul_sums(const kt_matmul *p, const int8_t *x, const int8_t *other, int32_t sums[4])
{
    const uint32_t left = kt_low_halves((uint32_t)p->offset[0], (uint32_t)p->offset[0]);
    const uint32_t right = kt_low_halves((uint32_t)p->offset[1], (uint32_t)p->offset[1]);
    const int8_t *const b0 = other, *const b1 = b0 + p->other[1], *const b2 = b1 + p->other[1], *const b3 = b2 + p->other[1];
    const int32_t depth = p->depth[1];
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int32_t j;
    if (!kt_matmul_is_dense(p)) {
        kt_matmul_sums(p, x, other, sums);
        return;
    }
    for (j = 0; j + 4 <= depth; j += 4) {
        const uint32_t values = kt_load_word(x + j);
        const uint32_t even = kt_add_even(left, values), odd = kt_add_odd(left, values);
        uint32_t factors = kt_load_word(b0 + j);
        s0 = kt_add_products(odd, kt_add_odd(right, factors), kt_add_products(even, kt_add_even(right, factors), s0));
        factors = kt_load_word(b1 + j);
        s1 = kt_add_products(odd, kt_add_odd(right, factors), kt_add_products(even, kt_add_even(right, factors), s1));
        factors = kt_load_word(b2 + j);
        s2 = kt_add_products(odd, kt_add_odd(right, factors), kt_add_products(even, kt_add_even(right, factors), s2));
        factors = kt_load_word(b3 + j);
        s3 = kt_add_products(odd, kt_add_odd(right, factors), kt_add_products(even, kt_add_even(right, factors), s3));
    }
    for (; j < depth; j++) {
        const int32_t value = x[j] + p->offset[0];
        s0 += value * (b0[j] + p->offset[1]);
        s1 += value * (b1[j] + p->offset[1]);
        s2 += value * (b2[j] + p->offset[1]);
        s3 += value * (b3[j] + p->offset[1]);
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

#endif
