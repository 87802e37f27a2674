/* matmul_sum.h: the sum behind one value of a product, eight products an instruction where the values lie side by side. */
#ifndef KT_MVE_MATMUL_SUM_H
#define KT_MVE_MATMUL_SUM_H

#include "../../mve/dot.h"
#include "../matmul.h"

/* sum (a + m) (b + n) = sum (a + m) b + n sum (a + m); a + m is at most 255 in size. */
static inline int32_t matmul_sum(const kt_matmul *p, const int8_t *x, const int8_t *other)
{
    const int32_t depth = p->depth[1];
    uint32_t sum = 0;
    int32_t i;
    if (!kt_matmul_is_dense(p)) {
        return kt_matmul_sum(p, x, other);
    }
    for (i = 0; i < p->depth[0]; i++) {
        const int8_t *a = x + i * p->x[2];
        const int8_t *b = other + i * p->other[2];
        int32_t products = 0, values = 0;
        __asm__ volatile("dlstp.16 lr, %[n]\n"
                         "1:\n\t"
                         "vldrb.s16 q0, [%[a]], #8\n\t"
                         "vadd.i16 q0, q0, %[offset]\n\t"
                         "vldrb.s16 q1, [%[b]], #8\n\t"
                         "vaddva.s16 %[values], q0\n\t"
                         "vmladava.s16 %[products], q0, q1\n\t"
                         "letp lr, 1b\n"
                         : [a] "+l"(a), [b] "+l"(b), [values] "+Te"(values), [products] "+Te"(products)
                         : [n] "r"(depth), [offset] "r"(p->offset[0])
                         : "lr", "q0", "q1", "memory");
        sum += (uint32_t)products + (uint32_t)p->offset[1] * (uint32_t)values;
    }
    return (int32_t)sum;
}

/* The sums, from `initial` on, of the products of `depth` values a + m and of those of two columns. */
static inline void kt_two_sums(const int8_t *a, int32_t m, int32_t depth, const int8_t *b0, const int8_t *b1, int32_t initial, int32_t *sums)
{
    int32_t s0 = initial, s1 = initial;
    __asm__ volatile("dlstp.16 lr, %[n]\n"
                     "1:\n\t"
                     "vldrb.s16 q0, [%[a]], #8\n\t"
                     "vadd.i16 q0, q0, %[m]\n\t"
                     "vldrb.s16 q1, [%[b0]], #8\n\t"
                     "vmladava.s16 %[s0], q0, q1\n\t"
                     "vldrb.s16 q2, [%[b1]], #8\n\t"
                     "vmladava.s16 %[s1], q0, q2\n\t"
                     "letp lr, 1b\n"
                     : [a] "+l"(a), [b0] "+l"(b0), [b1] "+l"(b1), [s0] "+Te"(s0), [s1] "+Te"(s1)
                     : [n] "r"(depth), [m] "r"(m)
                     : "lr", "q0", "q1", "q2", "memory");
    sums[0] = s0;
    sums[1] = s1;
}

/* kt_matmul_initial: n sum (a + m). */
static inline int32_t matmul_initial(const kt_matmul *p, const int8_t *x)
{
    const int32_t depth = p->depth[1];
    return p->x[3] == 1 ? (kt_sum_lanes(x, depth) + depth * p->offset[0]) * p->offset[1] : 0;
}

/* kt_matmul_sums */
static inline void matmul_sums(const kt_matmul *p, const int8_t *x, int32_t initial, const int8_t *other, int32_t sums[4])
{
    const int32_t step = p->other[1], depth = p->depth[1];
    if (!kt_matmul_is_dense(p)) {
        kt_matmul_sums(p, x, initial, other, sums);
        return;
    }
    kt_two_sums(x, p->offset[0], depth, other, other + step, initial, sums);
    kt_two_sums(x, p->offset[0], depth, other + 2 * step, other + 3 * step, initial, sums + 2);
}

#endif
