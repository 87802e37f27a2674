/* conv2d_lora.h: convolutions with LoRA, one position and channel after the other. */
#ifndef KT_CONV2D_LORA_H
#define KT_CONV2D_LORA_H

#include "kt/kernels/convolution.h"
#include "conv2d.h"

/* sum_j b[c, j] * u[p, j] */
/* Whether a build for size has LoRA of rank 4 alone, and takes four channels of U at once. */
#if KT_SMALL_DSP && defined(KT_RANK_FOUR) && !defined(KT_LONG_SUMS)
#define KT_SHORT_RANK_FOUR 1
#else
#define KT_SHORT_RANK_FOUR 0
#endif

static inline int32_t kt_up_projection(const kt_conv2d_params *params, const kt_trainable *lora, const kt_patch *patch,
                                       const int8_t *x, int32_t position, int32_t channel)
{
    const int32_t rank = params->rank;
    const int8_t *u = lora->u + position * rank;
    const int8_t *b = lora->weights + channel * rank;
    int32_t sum = 0;
    int32_t j = 0;
    (void)patch;
    (void)x;
#if KT_SMALL_DSP
    for (; j + 4 <= rank; j += 4) {
        const uint32_t left = kt_load_word(b + j), right = kt_load_word(u + j);
        sum = kt_add_products(kt_even(left), kt_even(right), kt_add_products(kt_odd(left), kt_odd(right), sum));
    }
#endif
    for (; j < rank; j++) {
        sum += b[j] * u[j];
    }
    return sum;
}

static inline void kt_conv2d_lora_walk(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                       const int8_t *u, const int8_t *b, const int8_t *u_range,
                                       const int8_t *b_exponent, int8_t *y)
{
    kt_trainable lora;
    lora.weights = b;
    lora.u = u;
    lora.exponent = *u_range + *b_exponent;
    kt_conv2d_walk(params, x, bias, &lora, y, kt_requantize, KT_SHORT_RANK_FOUR ? NULL : kt_up_projection);
}

#endif
