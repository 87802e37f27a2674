/* softmax_gradient.h: what the gradients of SOFTMAX and of attention share. */
#ifndef KT_SRC_KERNELS_ELEMENTWISE_SOFTMAX_GRADIENT_H
#define KT_SRC_KERNELS_ELEMENTWISE_SOFTMAX_GRADIENT_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

/* 256 times the mean of gradients, to nearest, half up. sum: of p[j] g[j]; total: of p[j], p in 1/256. */
static inline int32_t softmax_mean(int32_t sum, int32_t total)
{
    const int32_t parts = kt_maximum(total, 1);
    const int32_t doubled = 512 * sum + parts;
    const int32_t quotient = doubled / (2 * parts);
    return quotient - (quotient * 2 * parts > doubled ? 1 : 0);
}

static inline int8_t softmax_slope(int32_t p, int32_t g, int32_t mean, int32_t shift)
{
    return kt_saturate8(kt_shift_round(p * (256 * g - mean), shift));
}

#endif
