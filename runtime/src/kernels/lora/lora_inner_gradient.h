/* lora_inner_gradient.h: products of a gradient with the columns of B, one by one. */
#ifndef KT_LORA_INNER_GRADIENT_H
#define KT_LORA_INNER_GRADIENT_H

#include "kt/kernels/lora.h"
#include "kt/numerics.h"

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

#endif
