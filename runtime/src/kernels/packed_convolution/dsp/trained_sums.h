/* trained_sums.h: ../trained_sums.h for the DSP extension. */
#ifndef KT_DSP_TRAINED_SUMS_H
#define KT_DSP_TRAINED_SUMS_H

#include "kt/kernels/packed_convolution.h"
#include "../packed_trained_walk.h"
#include "doubled_products.h"
#include "packed_sums.h"

/* Doubled products of so many codes at most, shifted left so far at most, have less than 30 bits. */
enum { SMALL_RANK = 16, LARGEST_LEFT = 10 };

static __attribute__((noinline, cold)) int32_t any_addend(int32_t twice, int32_t multiplier, int32_t shift)
{
    return kt_scaled_addend(twice / 2, multiplier, shift);
}

/* Adds what the doubled products and the bias of a channel give to both sums. most_left: bits of a left shift without a check. A product of
 * int8 codes has so few bits that neither its double nor its high part with 2^30 leaves int32. */
KT_INLINE void add_channel(int32_t multiplier, int32_t down, int32_t bias, int32_t twice0, int32_t twice1, int32_t *sum,
                           int32_t stride, int32_t most_left)
{
    int32_t addend0, addend1;
    if ((uint32_t)(down - 1) < 31) {
        const int32_t half = (int32_t)(UINT32_C(1) << (down - 1));
        addend0 = (kt_add_high_product(twice0, multiplier, half) + (twice0 >> 31)) >> down;
        addend1 = (kt_add_high_product(twice1, multiplier, half) + (twice1 >> 31)) >> down;
    } else if (down <= 0 && down >= -most_left) { /* rounded once */
        addend0 = kt_add_high_product((int32_t)((uint32_t)twice0 << -down), multiplier, 0);
        addend1 = kt_add_high_product((int32_t)((uint32_t)twice1 << -down), multiplier, 0);
    } else {
        addend0 = any_addend(twice0, multiplier, -down);
        addend1 = any_addend(twice1, multiplier, -down);
    }
    addend0 = __qadd(sum[0] + addend0, bias); /* both are read before either is written: they may be one */
    addend1 = __qadd(sum[stride] + addend1, bias);
    sum[0] = addend0;
    sum[stride] = addend1;
}

/* Sums to totals, with LoRA. */
static __attribute__((noinline)) void add_four(const kt_trained_sums *trained, const kt_sums_block *block)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t *const multiplier = params->addend_multiplier, *const bias = trained->bias;
    const int8_t *const shift = params->addend_shift, *const b = trained->b;
    const kt_four_u u0 = kt_doubled_four(trained->u + 4 * block->position[0]), u1 = kt_doubled_four(trained->u + 4 * block->position[1]);
    const int32_t end = block->first + block->count, stride = block->stride, exponent = trained->exponent;
    int32_t *sum = block->sums;
    int32_t c;
    for (c = block->first; c < end; c++, sum++) {
        const uint32_t word = kt_load_word(b + 4 * c);
        const uint32_t even = kt_even(word), odd = kt_odd(word);
        const int32_t first0 = (int32_t)__smuad((int16x2_t)even, (int16x2_t)u0.even);
        const int32_t first1 = (int32_t)__smuad((int16x2_t)even, (int16x2_t)u1.even);
        add_channel(multiplier[c], -(shift[c] + exponent), bias[c], kt_add_products(odd, u0.odd, first0),
                    kt_add_products(odd, u1.odd, first1), sum, stride, LARGEST_LEFT);
    }
}

static __attribute__((noinline)) void add_products(const kt_trained_sums *trained, const kt_sums_block *block)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t rank = params->rank;
    const int8_t *const u0 = trained->u + block->position[0] * rank, *const u1 = trained->u + block->position[1] * rank;
    int32_t *sum = block->sums;
    int32_t c;
    for (c = block->first; c < block->first + block->count; c++, sum++) {
        int32_t twice[2];
        kt_doubled_products(trained->b + c * rank, u0, u1, rank, twice);
        add_channel(params->addend_multiplier[c], -(params->addend_shift[c] + trained->exponent), trained->bias[c], twice[0], twice[1],
                    sum, block->stride, rank <= SMALL_RANK ? LARGEST_LEFT : -1);
    }
}

static void finish(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    if (trained->u == NULL) {
        kt_add_bias(trained, block);
    } else if (trained->params->rank == 4) {
        add_four(trained, block);
    } else {
        add_products(trained, block);
    }
    kt_requantize_block(trained, block, y);
}

KT_INLINE void kt_run_trained(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch, kt_product_kernel *product, kt_trained_walk *walk)
{
    const kt_trained_sums trained = kt_trained_sums_of(params, bias, u, b, u_range, b_exponent);
    walk(&trained, x, y, scratch, product, finish);
}

#endif
