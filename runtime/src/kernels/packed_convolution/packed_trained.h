/* packed_trained.h: the exact meaning of one channel of a layer with trained sums. */
#ifndef KT_PACKED_TRAINED_H
#define KT_PACKED_TRAINED_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/halves.h"
#include "../convolution/conv2d.h"

/* What training adds. u, b: NULL where there is no LoRA. */
typedef struct {
    const kt_packed_conv2d_lora_params *params;
    const int32_t *bias;
    const int8_t *u;
    const int8_t *b;
    int32_t exponent;
} kt_trained_sums;

/* Sums of `count` channels from `first` on, of two positions; the second's lie `stride` words behind the first's. One position alone
 * comes as twice the same, with stride 0. panel: what they are sums of. */
typedef struct {
    const int32_t *panel;
    int32_t *sums;
    int32_t stride;
    int32_t position[2];
    int32_t first, count;
} kt_sums_block;

/* The whole of one block: sums to results. */
typedef void kt_finish_block(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y);

/* sum_j b[j] * u[j] */
static inline int32_t kt_up_product(const int8_t *b, const int8_t *u, int32_t rank)
{
    int32_t sum = 0;
    for (; rank > 0; rank--) {
        sum += *b++ * *u++;
    }
    return sum;
}

/* An addend, within +-2^30: a right shift leaves no more. */
static inline int32_t kt_scaled_addend(int32_t x, int32_t multiplier, int32_t shift)
{
    return kt_clamp(kt_requantize(x, multiplier, shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

/* The total of channel c at a position; the sum of the product has 24 bits. */
static inline int32_t kt_total_of(const kt_trained_sums *trained, int32_t sum, int32_t position, int32_t c)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t rank = params->rank;
    int32_t addend = 0;
    if (trained->u != NULL) {
        const int32_t product = kt_up_product(trained->b + c * rank, trained->u + position * rank, rank);
        addend = kt_scaled_addend(product, params->addend_multiplier[c], params->addend_shift[c] + trained->exponent);
    }
    return kt_add_words(sum + addend, trained->bias[c]);
}

static inline int8_t kt_result_of_total(const kt_trained_sums *trained, int32_t total, int32_t c)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t scaled = kt_requantize(total, params->multiplier[c], params->shift[c]);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

/* A block, one channel after the other. */
static inline void kt_finish_sums(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    int32_t i, c;
    for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
        const int32_t *const sums = block->sums + i * block->stride;
        int8_t *const result = y + block->position[i] * trained->params->window.output[KT_CHANNELS];
        for (c = block->first; c < block->first + block->count; c++) {
            const int32_t total = kt_total_of(trained, sums[c - block->first], block->position[i], c);
            result[c] = kt_result_of_total(trained, total, c);
        }
    }
}

static inline kt_trained_sums kt_trained_sums_of(const kt_packed_conv2d_lora_params *params, const int32_t *bias, const int8_t *u,
                                                 const int8_t *b, const int8_t *u_range, const int8_t *b_exponent)
{
    kt_trained_sums trained = {params, bias, u, b, 0};
    if (u != NULL) {
        trained.exponent = *u_range + *b_exponent;
    }
    return trained;
}

#endif
