/* matmul_sum.h: the sum behind one value of a product, two products an instruction where the values lie side by side. */
#ifndef KT_DSP_MATMUL_SUM_H
#define KT_DSP_MATMUL_SUM_H

#include "../../dsp/simd.h"
#include "../matmul.h"

#define matmul_initial kt_matmul_initial

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

/* Four values of the next column. */
#define KT_NEXT_COLUMN(sum) \
    do { \
        const uint32_t factors = kt_load_word(other); \
        sum = kt_add_products(odd, kt_odd(factors), kt_add_products(even, kt_even(factors), sum)); \
        other += step; \
        __asm__("" : "+r"(other)); \
    } while (0)

/* sums[c] += the products of `depth` values, with the offset that both halves of `added` hold, and of column c, c < 4; step: from
 * column to column. In a function of its own it has the registers that it needs; the empty assembly keeps the compiler from a
 * pointer a column, for which there are none. */
static __attribute__((noinline, unused)) void kt_four_sums(const int8_t *x, const int8_t *other, int32_t step, int32_t depth, uint32_t added,
                                                           int32_t sums[4])
{
    const int8_t *const end = x + (depth & ~3);
    const int32_t back = 4 - 4 * step;
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    while (x < end) {
        const uint32_t word = kt_load_word(x);
        const uint32_t even = kt_add_even(added, word), odd = kt_add_odd(added, word);
        x += 4;
        KT_NEXT_COLUMN(s0);
        KT_NEXT_COLUMN(s1);
        KT_NEXT_COLUMN(s2);
        KT_NEXT_COLUMN(s3);
        other += back;
    }
    for (depth &= 3; depth > 0; depth--, other++) {
        const int32_t value = *x++ + (int16_t)added;
        s0 += value * other[0];
        s1 += value * other[step];
        s2 += value * other[2 * step];
        s3 += value * other[3 * step];
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* kt_matmul_sums */
static inline void matmul_sums(const kt_matmul *p, const int8_t *x, int32_t initial, const int8_t *other, int32_t sums[4])
{
    if (!kt_matmul_is_dense(p)) {
        kt_matmul_sums(p, x, initial, other, sums);
        return;
    }
    sums[0] = sums[1] = sums[2] = sums[3] = initial;
    kt_four_sums(x, other, p->other[1], p->depth[1], kt_low_halves((uint32_t)p->offset[0], (uint32_t)p->offset[0]), sums);
}

#endif
