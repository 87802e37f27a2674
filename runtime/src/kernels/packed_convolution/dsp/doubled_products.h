/* doubled_products.h: twice the products of B with u, of two positions at a time. */
#ifndef KT_DSP_DOUBLED_PRODUCTS_H
#define KT_DSP_DOUBLED_PRODUCTS_H

#include "../../dsp/simd.h"

/* u of one position, rank 4, doubled. */
typedef struct {
    uint32_t even, odd;
} kt_four_u;

static inline kt_four_u kt_doubled_four(const int8_t *u)
{
    const uint32_t word = kt_load_word(u);
    const uint32_t even = kt_even(word), odd = kt_odd(word);
    const kt_four_u result = {kt_add_halves(even, even), kt_add_halves(odd, odd)};
    return result;
}

/* 2 sum_j b[j] * u[j] of two positions; b is read once. */
static inline void kt_doubled_products(const int8_t *b, const int8_t *u0, const int8_t *u1, int32_t rank, int32_t twice[2])
{
    int32_t sum0 = 0, sum1 = 0;
    for (; rank >= 4; rank -= 4, b += 4, u0 += 4, u1 += 4) {
        const uint32_t word = kt_load_word(b), word0 = kt_load_word(u0), word1 = kt_load_word(u1);
        const uint32_t even = kt_even(word), odd = kt_odd(word);
        sum0 = kt_add_products(odd, kt_odd(word0), kt_add_products(even, kt_even(word0), sum0));
        sum1 = kt_add_products(odd, kt_odd(word1), kt_add_products(even, kt_even(word1), sum1));
    }
    for (; rank > 0; rank--, b++) {
        sum0 += *b * *u0++;
        sum1 += *b * *u1++;
    }
    twice[0] = 2 * sum0;
    twice[1] = 2 * sum1;
}

#endif
