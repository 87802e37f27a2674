/* matmul.h: the sum behind one value of a product of two activations, in portable C. */
#ifndef KT_MATMUL_H
#define KT_MATMUL_H

#include <string.h>

#include "kt/architecture.h"

#include "kt/kernels/matmul.h"

/* Whether the values of a sum lie side by side in both operands. */
static inline int kt_matmul_is_dense(const kt_matmul *p)
{
    return p->x[3] == 1 && p->other[3] == 1;
}

#if KT_VECTOR
#include "vector/dense_sums.h"
#elif defined(__GNUC__)
#define KT_ROW_PART static __attribute__((noinline, unused))
#endif
/* A function of its own, for cores with few registers. */
#ifndef KT_ROW_PART
#define KT_ROW_PART static inline
#endif

/* x, other: where the row of x and the column of the other operand begin. */
static inline int32_t kt_matmul_sum(const kt_matmul *p, const int8_t *x, const int8_t *other)
{
    int32_t sum = 0;
    int32_t i, j;
#if KT_VECTOR
    if (kt_matmul_is_dense(p)) {
        return kt_dense_sum(p, x, other);
    }
#endif
    for (i = 0; i < p->depth[0]; i++) {
        const int8_t *a = x + i * p->x[2];
        const int8_t *b = other + i * p->other[2];
        for (j = 0; j < p->depth[1]; j++) {
            sum += (*a + p->offset[0]) * (*b + p->offset[1]);
            a += p->x[3];
            b += p->other[3];
        }
    }
    return sum;
}

/* sums[c] = initial + the sum of products of `depth` values x + m and of those of column c, c < 2. */
KT_ROW_PART void kt_two_products(const int8_t *x, int32_t m, int32_t depth, const int8_t *first, const int8_t *second, int32_t initial,
                                 int32_t sums[2])
{
    int32_t s0 = initial, s1 = initial, j;
    for (j = 0; j < depth; j++) {
        const int32_t value = x[j] + m;
        s0 += value * first[j];
        s1 += value * second[j];
    }
    sums[0] = s0;
    sums[1] = s1;
}

/* What the sums of a row of x begin with where its values lie side by side: sum (a + m) (b + n) = sum (a + m) b + n sum (a + m),
 * modulo 2^32 on the way and exact at the end. depth[0] is 1. */
static inline int32_t kt_matmul_initial(const kt_matmul *p, const int8_t *x)
{
    uint32_t values = 0;
    int32_t j;
    for (j = 0; j < p->depth[1] && p->offset[1] != 0 && p->x[3] == 1 && !KT_VECTOR; j++) {
        values += (uint32_t)(x[j] + p->offset[0]);
    }
    return (int32_t)(values * (uint32_t)p->offset[1]);
}

/* Four sums of one row of x and four columns that follow one another; depth[0] is 1, initial: of kt_matmul_initial. */
static inline void kt_matmul_sums(const kt_matmul *p, const int8_t *x, int32_t initial, const int8_t *other, int32_t sums[4])
{
    const int32_t step = p->other[1];
    int32_t c;
    if (kt_matmul_is_dense(p)) {
#if KT_VECTOR
        (void)initial;
        kt_dense_sums(p, x, other, sums);
#else
        kt_two_products(x, p->offset[0], p->depth[1], other, other + step, initial, sums);
        kt_two_products(x, p->offset[0], p->depth[1], other + 2 * step, other + 3 * step, initial, sums + 2);
#endif
        return;
    }
    for (c = 0; c < 4; c++) {
        sums[c] = kt_matmul_sum(p, x, other + c * step);
    }
}

/* The same product with the roles of rows and columns changed. */
static inline kt_matmul kt_matmul_turned(const kt_matmul *p)
{
    kt_matmul turned = {p->batches, p->columns, p->rows, {p->depth[0], p->depth[1]}, {0}, {0}, {p->offset[1], p->offset[0]}};
    memcpy(turned.x, p->other, sizeof turned.x);
    memcpy(turned.other, p->x, sizeof turned.other);
    return turned;
}

#endif
