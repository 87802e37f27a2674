/* trained_sums.h: ../trained_sums.h in vectors of channels. */
#ifndef KT_VECTOR_TRAINED_SUMS_H
#define KT_VECTOR_TRAINED_SUMS_H

#include "../packed_trained_walk.h"
#include "kt/kernels/packed_convolution.h"
#include "finish.h"
#include "lora_pairs.h"

/* B as pairs of its columns: word [pair][channel], and the same pairs of each u. */
typedef struct {
    kt_trained_sums trained; /* first: a finish_block gets its address */
    const int32_t *pairs;
    int32_t count;
} kt_paired_lora;

KT_INLINE void finish_lanes(const kt_paired_lora *lora, const int32_t *u, const int32_t *sums, int32_t c, int8_t *y)
{
    const int32_t channels = lora->trained.params->window.output[KT_CHANNELS];
    kt_lanes product = kt_no_lanes(), total = kt_load_lanes(sums);
    int32_t i;
    for (i = 0; i < lora->count; i++) {
        product = kt_add_pair_products(product, kt_load_lanes(lora->pairs + i * channels + c), kt_splat(u[i]));
    }
    if (lora->count > 0) {
        total = kt_add_lanes(total, kt_addend_lanes(&lora->trained, product, c));
    }
    kt_finish_lanes(&lora->trained, total, c, y);
}

static void finish_block(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    const kt_paired_lora *const lora = (const kt_paired_lora *)trained;
    const int32_t channels = trained->params->window.output[KT_CHANNELS], rank = trained->params->rank;
    const int32_t whole = block->count & -KT_LANES;
    int32_t i, c;
    for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
        const int32_t *const sums = block->sums + i * block->stride;
        int8_t *const result = y + block->position[i] * channels;
        int32_t u[KT_RANK_PAIRS];
        for (c = 0; c < lora->count; c++) {
            u[c] = kt_pair_of_codes(trained->u + block->position[i] * rank, 2 * c, rank);
        }
        for (c = 0; c < whole; c += KT_LANES) {
            finish_lanes(lora, u, sums + c, block->first + c, result);
        }
        for (; c < block->count; c++) {
            const int32_t total = kt_total_of(trained, sums[c], block->position[i], block->first + c);
            result[block->first + c] = kt_result_of_total(trained, total, block->first + c);
        }
    }
}

KT_INLINE void kt_run_trained(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch, kt_product_kernel *product, kt_trained_walk *walk)
{
    kt_paired_lora lora = {kt_trained_sums_of(params, bias, u, b, u_range, b_exponent), NULL, 0};
    int32_t pairs[KT_MOST_CODES];
    if (u != NULL) {
        lora.count = kt_rank_pairs(params->rank);
        lora.pairs = kt_pairs_of_b(b, params->window.output[KT_CHANNELS], params->rank, pairs);
        if (lora.pairs == NULL) {
            walk(&lora.trained, x, y, scratch, product, kt_finish_sums);
            return;
        }
    }
    walk(&lora.trained, x, y, scratch, product, finish_block);
}

#endif
