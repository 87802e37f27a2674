/* broadcast.h: rows of a result whose operands stretch to it. */
#ifndef KT_BROADCAST_H
#define KT_BROADCAST_H

#include "kt/architecture.h"
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

/* The loops over rows: a kernel takes rows along which both operands move, `still` others. */
#define KT_BROADCAST_LOOPS(kernel, still) \
    const kt_broadcast *const shape = &params->shape; \
    const int32_t n = shape->extent[KT_INNERMOST]; \
    const int32_t x_step = shape->x_step[KT_INNERMOST], other_step = shape->other_step[KT_INNERMOST]; \
    int32_t index[KT_INNERMOST] = {0, 0, 0}; \
    int32_t x_at = 0, other_at = 0; \
    int32_t rows; \
    for (rows = kt_rows(shape->extent); rows > 0; rows--) { \
        if (x_step == 1 && other_step == 1) { \
            kernel(&params->row, x + x_at, other + other_at, y); \
        } else { \
            still \
        } \
        y += n; \
        x_at = kt_moved(shape->extent, shape->x_step, index, x_at); \
        other_at = kt_moved(shape->extent, shape->other_step, index, other_at); \
        kt_next_row(shape->extent, index); \
    }

/* The body of a kernel of operands that stretch, from one of rows and a function of an element. */
#define KT_BROADCAST(kernel, function) \
    KT_BROADCAST_LOOPS(kernel, { \
        int32_t i; \
        for (i = 0; i < n; i++) { \
            y[i] = function(&params->row, x[x_at + i * x_step], other[other_at + i * other_step]); \
        } \
    })

/* The body of kt_<name>_broadcast_s8: rows are what kt_<name>_s8 computes. That is faster than one element after the other, so an operand that stands
 * still is repeated, block by block, but in builds for size. */
#ifndef KT_SMALL
enum { KT_REPEATED = 64 };

static inline int8_t *kt_repeated(int8_t value, int32_t n, uint32_t *words)
{
    int32_t i;
    for (i = 0; i < n && i < KT_REPEATED; i += 4) {
        words[i / 4] = (uint8_t)value * UINT32_C(0x01010101);
    }
    return (int8_t *)words;
}

#define KT_BROADCAST_ROWS(name) \
    uint32_t words[KT_REPEATED / 4]; \
    kt_##name##_params block = params->row; \
    KT_BROADCAST_LOOPS(kt_##name##_s8, { \
        const int8_t *const same = kt_repeated(x_step ? other[other_at] : x[x_at], n, words); \
        int32_t first; \
        for (first = 0; first < n; first += KT_REPEATED) { \
            block.size = n - first < KT_REPEATED ? n - first : KT_REPEATED; \
            kt_##name##_s8(&block, x_step ? x + x_at + first : same, x_step ? same : other + other_at + first, \
                           y + first); \
        } \
    })
#else
#define KT_BROADCAST_ROWS(name) KT_BROADCAST(kt_##name##_s8, kt_##name##_element)
#endif

#endif
