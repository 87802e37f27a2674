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

/* What kt_matmul_sums needs to know of a row of x: nothing here; elsewhere what its sums begin with. depth[0] is 1. */
static inline int32_t kt_matmul_initial(const kt_matmul *p, const int8_t *x)
{
    (void)p, (void)x;
    return 0;
}

/* Four sums of one row of x and four columns that follow one another; depth[0] is 1. */
static inline void kt_matmul_sums(const kt_matmul *p, const int8_t *x, int32_t initial, const int8_t *other, int32_t sums[4])
{
    int32_t c;
    (void)initial;
#if KT_VECTOR
    if (kt_matmul_is_dense(p)) {
        kt_dense_sums(p, x, other, sums);
        return;
    }
#endif
    for (c = 0; c < 4; c++) {
        sums[c] = kt_matmul_sum(p, x, other + c * p->other[1]);
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
