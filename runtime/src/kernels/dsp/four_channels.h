/* four_channels.h: sums of products of four neighbouring channels over a rectangle of two images: a depthwise layer's over its taps, and
 * over positions those of its weights' gradient. */
#ifndef KT_DSP_FOUR_CHANNELS_H
#define KT_DSP_FOUR_CHANNELS_H

#include "kt/architecture.h"
#include "simd.h"

#if KT_MVE
#include <arm_mve.h>
#endif

/* Rows and columns of the rectangle, and the steps between the values of both images. */
typedef struct {
    int32_t rows, columns;
    int32_t column_a, column_x; /* to the next column */
    int32_t skip_a, skip_x;     /* from behind a row to the next */
} kt_rectangle;

/* sums[i] = sum of a[i] * (x[i] + offset); added: the offset in both halves of a word. */
#if KT_MVE
static inline void kt_sum_four_channels(const kt_rectangle *r, const int8_t *a, const int8_t *x, uint32_t added, int32_t sums[4])
{
    const int32_t column_a = r->column_a, column_x = r->column_x;
    const int32x4_t offset = vdupq_n_s32(kt_low((int32_t)added));
    int32x4_t sum = vdupq_n_s32(0);
    int32_t row, column;
    for (row = r->rows; row > 0; row--, a += r->skip_a, x += r->skip_x) {
        for (column = r->columns; column > 0; column--, a += column_a, x += column_x) {
            sum = vaddq_s32(sum, vmulq_s32(vldrbq_s32(a), vaddq_s32(vldrbq_s32(x), offset)));
        }
    }
    vstrwq_s32(sums, sum);
}
#else
/* A function of its own: in the loops of its callers gcc would keep a part of it on the stack. */
static __attribute__((noinline)) void kt_sum_four_channels(const kt_rectangle *r, const int8_t *a, const int8_t *x, uint32_t added, int32_t sums[4])
{
    const int32_t column_a = r->column_a, column_x = r->column_x;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t row, column;
    for (row = r->rows; row > 0; row--, a += r->skip_a, x += r->skip_x) {
        for (column = r->columns; column > 0; column--, a += column_a, x += column_x) {
            const uint32_t factors = kt_load_word(a), values = kt_load_word(x);
            const int16x2_t a02 = (int16x2_t)kt_even(factors), a13 = (int16x2_t)kt_odd(factors);
            const int16x2_t x02 = (int16x2_t)kt_add_even(added, values), x13 = (int16x2_t)kt_add_odd(added, values);
            sum0 = __smlabb(a02, x02, sum0);
            sum1 = __smlabb(a13, x13, sum1);
            sum2 = __smlatt(a02, x02, sum2);
            sum3 = __smlatt(a13, x13, sum3);
        }
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

#endif
