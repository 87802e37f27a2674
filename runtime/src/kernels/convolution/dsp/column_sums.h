/* column_sums.h: sums over the rows of a matrix of int8, eight or four columns at once.
 *
 * Up to 256 rows fit in 16 bits; the int32 totals take them in turn. */
#ifndef KT_DSP_COLUMN_SUMS_H
#define KT_DSP_COLUMN_SUMS_H

#include "../../dsp/simd.h"

enum { KT_ROWS_AT_ONCE = 256 };

/* totals[c] += sums, {even, odd} of four columns. */
static inline void kt_add_sums(int32_t *totals, uint32_t even, uint32_t odd)
{
    totals[0] += (int16_t)even;
    totals[1] += (int16_t)odd;
    totals[2] += (int32_t)even >> 16;
    totals[3] += (int32_t)odd >> 16;
}

static inline void kt_sum_eight(const int8_t *x, int32_t step, int32_t rows, int32_t *totals)
{
    uint32_t even0 = 0, odd0 = 0, even1 = 0, odd1 = 0;
    for (; rows >= 4; rows -= 4) {
        int32_t i;
#pragma GCC unroll 4
        for (i = 0; i < 4; i++, x += step) {
            const uint32_t a = kt_load_word(x), b = kt_load_word(x + 4);
            even0 = kt_add_even(even0, a);
            odd0 = kt_add_odd(odd0, a);
            even1 = kt_add_even(even1, b);
            odd1 = kt_add_odd(odd1, b);
        }
    }
    for (; rows > 0; rows--, x += step) {
        const uint32_t a = kt_load_word(x), b = kt_load_word(x + 4);
        even0 = kt_add_even(even0, a);
        odd0 = kt_add_odd(odd0, a);
        even1 = kt_add_even(even1, b);
        odd1 = kt_add_odd(odd1, b);
    }
    kt_add_sums(totals, even0, odd0);
    kt_add_sums(totals + 4, even1, odd1);
}

static inline void kt_sum_four(const int8_t *x, int32_t step, int32_t rows, int32_t *totals)
{
    uint32_t even = 0, odd = 0;
    for (; rows > 0; rows--, x += step) {
        const uint32_t word = kt_load_word(x);
        even = kt_add_even(even, word);
        odd = kt_add_odd(odd, word);
    }
    kt_add_sums(totals, even, odd);
}

/* totals[c] += sum over rows of x[row * step + c], c in [0, count); count: 4 or 8. */
static inline void kt_column_sums(const int8_t *x, int32_t step, int32_t rows, int32_t count, int32_t *totals)
{
    for (; rows > 0; rows -= KT_ROWS_AT_ONCE, x += KT_ROWS_AT_ONCE * step) {
        const int32_t now = rows < KT_ROWS_AT_ONCE ? rows : KT_ROWS_AT_ONCE;
        if (count == 8) {
            kt_sum_eight(x, step, now, totals);
        } else {
            kt_sum_four(x, step, now, totals);
        }
    }
}

#endif
