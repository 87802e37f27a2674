/* four_row_sums.h: products of a vector of int8 with four rows of int8. */
#ifndef KT_FOUR_ROW_SUMS_H
#define KT_FOUR_ROW_SUMS_H

#include "simd.h"

/* sum + products of four values with four weights */
static inline int32_t kt_add_four_products(const int8_t *w, uint32_t even, uint32_t odd, int32_t sum)
{
    const uint32_t word = kt_load_word(w);
    return kt_add_products(kt_odd(word), odd, kt_add_products(kt_even(word), even, sum));
}

/* sums[i] += sum_j rows[i][j] * (x[j] + offset), j in [0, length). */
static __attribute__((noinline)) void kt_four_row_sums(const int8_t *x, const int8_t *const rows[4], int32_t length, int32_t offset,
                                                       int32_t sums[4])
{
    const uint32_t added = (uint16_t)offset * UINT32_C(0x00010001);
    const int8_t *w0 = rows[0], *w1 = rows[1], *w2 = rows[2], *w3 = rows[3];
    int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
    int32_t left;
    for (left = length; left >= 4; left -= 4) {
        const uint32_t word = kt_load_word(x);
        const uint32_t even = kt_add_halves(kt_even(word), added), odd = kt_add_halves(kt_odd(word), added);
        sum0 = kt_add_four_products(w0, even, odd, sum0);
        sum1 = kt_add_four_products(w1, even, odd, sum1);
        sum2 = kt_add_four_products(w2, even, odd, sum2);
        sum3 = kt_add_four_products(w3, even, odd, sum3);
        x += 4;
        w0 += 4;
        w1 += 4;
        w2 += 4;
        w3 += 4;
    }
    for (; left > 0; left--) {
        const int32_t value = *x++ + offset;
        sum0 += *w0++ * value;
        sum1 += *w1++ * value;
        sum2 += *w2++ * value;
        sum3 += *w3++ * value;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

#endif
