/* delta_sums.h: ../delta_sums.h in vectors. */
#ifndef KT_VECTOR_DELTA_SUMS_H
#define KT_VECTOR_DELTA_SUMS_H

#include "../packed_conv2d_delta.h"
#include "finish.h"

/* Words of a panel without the zero point. */
KT_INLINE kt_lanes kt_without(kt_lanes panel, kt_lanes outside)
{
    return (kt_lanes)((kt_short_lanes)panel - (kt_short_lanes)outside);
}

/* The sums of both positions of one row of the delta, x without its zero point. A row in pairs as the panel has them: four values make (0, 2)
 * and (1, 3); of three left over the third is the second's partner. */
static void kt_delta_products_of(const kt_trained_delta *delta, const int8_t *row, const int32_t *panel, int32_t sums[3])
{
    const int32_t zero = delta->trained.params->outside, length = delta->length, whole = length & -KT_LANES;
    const kt_lanes outside = kt_splat(kt_pair_of(zero, zero));
    kt_lanes total = kt_no_lanes();
    int32_t run, at, i, words[KT_LANES];
    sums[0] = sums[1] = sums[2] = 0;
    for (run = 0; run < delta->runs; run++, row += length, panel += 2 * kt_run_pairs(length)) {
        for (at = 0; at < whole; at += KT_LANES) {
            total = kt_add_pair_products(total, kt_row_twice(row + at), kt_without(kt_load_lanes(panel + at), outside));
        }
        for (; at < length; at++) {
            const int32_t rest = length - at / 4 * 4, place = at % 4;
            const int32_t pair = rest == 2 ? 0 : place % 2;
            const int high = rest == 2 ? place == 1 : place >= 2;
            const int32_t *const word = panel + 2 * (at / 4 * 2 + pair);
            sums[0] += row[at] * ((high ? kt_high(word[0]) : kt_low(word[0])) - zero);
            sums[1] += row[at] * ((high ? kt_high(word[1]) : kt_low(word[1])) - zero);
        }
    }
    kt_store_lanes(words, total);
    for (i = 0; i < KT_LANES; i += 2) {
        sums[0] += words[i];
        sums[1] += words[i + 1];
    }
}

/* A block. */
static void kt_finish_delta(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    const kt_trained_delta *const delta = (const kt_trained_delta *)trained;
    const int32_t whole = block->count & -KT_LANES, channels = trained->params->window.output[KT_CHANNELS];
    int32_t found[2][KT_START_BLOCK];
    int32_t i, c;
    for (c = 0; c < block->count; c++) {
        const int32_t row = delta->rows == NULL ? block->first + c : delta->rows[block->first + c];
        int32_t sums[3] = {0, 0, 0};
        if (row >= 0) {
            kt_delta_products_of(delta, delta->delta + row * delta->runs * delta->length, block->panel, sums);
        }
        found[0][c] = sums[0];
        found[1][c] = sums[1];
    }
    for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
        int32_t *const sums = block->sums + i * block->stride;
        int8_t *const result = y + block->position[i] * channels;
        for (c = 0; c < whole; c += KT_LANES) {
            const kt_lanes addend = kt_addend_lanes(trained, kt_load_lanes(found[i] + c), block->first + c);
            kt_finish_lanes(trained, kt_add_lanes(kt_load_lanes(sums + c), addend), block->first + c, result);
        }
        for (; c < block->count; c++) {
            const int32_t at = block->first + c;
            const int32_t shift = trained->params->addend_shift[at] + trained->exponent;
            const int32_t addend = kt_scaled_addend(found[i][c], trained->params->addend_multiplier[at], shift);
            result[at] = kt_result_of_total(trained, kt_total_of(trained, sums[c] + addend, block->position[i], at), at);
        }
    }
}

KT_INLINE void kt_run_delta(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y, void *scratch, kt_product_kernel *product)
{
    const kt_trained_delta trained = kt_trained_delta_of(params, bias, delta, delta_exponent);
    kt_packed_trained_walk(&trained.trained, x, y, scratch, product, kt_finish_delta);
}

#endif
