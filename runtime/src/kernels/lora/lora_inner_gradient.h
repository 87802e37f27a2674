/* lora_inner_gradient.h: products of a gradient with the columns of B, one by one. */
#ifndef KT_LORA_INNER_GRADIENT_H
#define KT_LORA_INNER_GRADIENT_H

#include "kt/architecture.h"
#include "kt/kernels/lora.h"
#include "kt/numerics.h"

#if KT_SMALL_DSP
#include "../dsp/simd.h"
#endif

/* sum_c b[c, j] * g[c]; b points to column j. */
static inline int32_t kt_lora_product(const int8_t *g, const int8_t *b, int32_t channels, int32_t rank)
{
    int32_t sum = 0;
    int32_t c;
    for (c = 0; c < channels; c++) {
        sum += g[c] * *b;
        b += rank;
    }
    return sum;
}

/* The products with neighbouring columns from b on; returns how many: columns are taken in fours where words can be, the rest singly. */
static inline int32_t kt_lora_products(const int8_t *g, const int8_t *b, int32_t channels, int32_t rank, int32_t left, int32_t sums[4])
{
#if KT_SMALL_DSP
    if (left >= 4) {
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        int32_t c;
        for (c = channels; c > 0; c--) {
            const uint32_t columns = kt_load_word(b);
            const uint32_t even = kt_even(columns), odd = kt_odd(columns);
            const int16_t value = *g++;
            sum0 += value * (int16_t)even;
            sum1 += value * (int16_t)odd;
            sum2 += value * (int16_t)(even >> 16);
            sum3 += value * (int16_t)(odd >> 16);
            b += rank;
        }
        sums[0] = sum0;
        sums[1] = sum1;
        sums[2] = sum2;
        sums[3] = sum3;
        return 4;
    }
#endif
    (void)left;
    sums[0] = kt_lora_product(g, b, channels, rank);
    return 1;
}

#endif
