/* broadcast.h: rows of a result whose operands stretch to it. */
#ifndef KT_BROADCAST_H
#define KT_BROADCAST_H

#include "kt/kernels/elementwise.h"

enum { KT_LOOPS = 4, KT_INNERMOST = KT_LOOPS - 1 };

/* How often the innermost loop runs. */
static inline int32_t kt_rows(const int32_t *extent)
{
    return extent[0] * extent[1] * extent[2];
}

/* Where an operand is after a row; index: of the loops around the innermost one at the row before. */
static inline int32_t kt_moved(const int32_t *extent, const int32_t *step, const int32_t *index, int32_t at)
{
    int32_t loop;
    for (loop = KT_INNERMOST - 1; loop > 0 && index[loop] + 1 == extent[loop]; loop--) {
        at -= step[loop] * index[loop];
    }
    return at + step[loop];
}

/* Counts a row. */
static inline void kt_next_row(const int32_t *extent, int32_t *index)
{
    int32_t loop;
    for (loop = KT_INNERMOST - 1; loop > 0 && index[loop] + 1 == extent[loop]; loop--) {
        index[loop] = 0;
    }
    index[loop]++;
}

/* The body of kt_<name>_broadcast_s8: rows of operands that both move are what kt_<name>_s8 computes. */
#define KT_BROADCAST_ROWS(name) KT_BROADCAST(kt_##name##_s8, kt_##name##_element)

/* The same of any kernel of rows and any function of an element. */
#define KT_BROADCAST(kernel, function) \
    const kt_broadcast *const shape = &params->shape; \
    const int32_t n = shape->extent[KT_INNERMOST]; \
    const int32_t x_step = shape->x_step[KT_INNERMOST], other_step = shape->other_step[KT_INNERMOST]; \
    int32_t index[KT_INNERMOST] = {0, 0, 0}; \
    int32_t x_at = 0, other_at = 0; \
    int32_t rows, i; \
    for (rows = kt_rows(shape->extent); rows > 0; rows--) { \
        if (x_step == 1 && other_step == 1) { \
            kernel(&params->row, x + x_at, other + other_at, y); \
        } else { \
            for (i = 0; i < n; i++) { \
                y[i] = function(&params->row, x[x_at + i * x_step], other[other_at + i * other_step]); \
            } \
        } \
        y += n; \
        x_at = kt_moved(shape->extent, shape->x_step, index, x_at); \
        other_at = kt_moved(shape->extent, shape->other_step, index, other_at); \
        kt_next_row(shape->extent, index); \
    }

#endif
