/* delta_sums.h: ../delta_sums.h for the DSP extension.
 *
 * With room for it the delta is packed once a call, into exact words of product.h, and multiplied by each panel as frozen weights are.
 * Without, two rows are widened as they are read, for both positions at once. */
#ifndef KT_DSP_DELTA_SUMS_H
#define KT_DSP_DELTA_SUMS_H

#include "../packed_conv2d_delta.h"
#include "packed_delta_results.h"
#include "packed_sums.h"

enum { KT_MOST_TOTALS = 128 }; /* sums of rows that are kept; of more rows they are found for every panel */

/* totals: sum of each row, or NULL. packed: as scratch holds the delta, or NULL. */
typedef struct {
    kt_trained_delta delta;
    const int32_t *totals;
    const kt_packed_delta *packed;
} kt_summed_delta;

/* Two rows, and their products with the values of both positions. */
typedef struct {
    const int8_t *rows[2];
    int32_t sums[2][2];
} kt_row_pair;

/* Adds the products of a pair of each row; pair 0 has both positions' values. */
KT_INLINE void kt_add_delta_pair(kt_row_pair *p, uint32_t first, uint32_t second, const int32_t *panel)
{
    const uint32_t value0 = (uint32_t)panel[0], value1 = (uint32_t)panel[1];
    p->sums[0][0] = kt_add_products(first, value0, p->sums[0][0]);
    p->sums[0][1] = kt_add_products(first, value1, p->sums[0][1]);
    p->sums[1][0] = kt_add_products(second, value0, p->sums[1][0]);
    p->sums[1][1] = kt_add_products(second, value1, p->sums[1][1]);
}

/* What is left of a run behind its fours, in pairs as `kt_fill_run` has them. */
static __attribute__((noinline)) const int32_t *kt_add_delta_rest(kt_row_pair *p, int32_t length, const int32_t *panel)
{
    const int8_t *const a = p->rows[0], *const b = p->rows[1];
    const int32_t partner = length == 2 ? 1 : 2;
    kt_add_delta_pair(p, (uint32_t)kt_pair_of(a[0], length == 1 ? 0 : a[partner]), (uint32_t)kt_pair_of(b[0], length == 1 ? 0 : b[partner]), panel);
    panel += 2;
    if (length == 3) {
        kt_add_delta_pair(p, (uint32_t)kt_pair_of(a[1], 0), (uint32_t)kt_pair_of(b[1], 0), panel);
        panel += 2;
    }
    p->rows[0] += length;
    p->rows[1] += length;
    return panel;
}

static __attribute__((noinline)) void kt_delta_pair_products(const kt_trained_delta *delta, const int32_t *panel, kt_row_pair *result)
{
    kt_row_pair p = {{result->rows[0], result->rows[1]}, {{0, 0}, {0, 0}}};
    int32_t run;
    for (run = delta->runs; run > 0; run--) {
        int32_t left;
        for (left = delta->length; left >= 4; left -= 4, panel += 4) {
            const uint32_t first = kt_load_word(p.rows[0]), second = kt_load_word(p.rows[1]);
            kt_add_delta_pair(&p, kt_even(first), kt_even(second), panel);
            kt_add_delta_pair(&p, kt_odd(first), kt_odd(second), panel + 2);
            p.rows[0] += 4;
            p.rows[1] += 4;
        }
        if (left > 0) {
            *result = p;
            panel = kt_add_delta_rest(result, left, panel);
            p = *result;
        }
    }
    *result = p;
}

/* What both products of channel c give is added to its sums. */
static inline void kt_add_two_addends(const kt_trained_delta *delta, const kt_sums_block *block, int32_t c, int32_t product0, int32_t product1)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int32_t multiplier = params->addend_multiplier[c], down = -(params->addend_shift[c] + delta->trained.exponent);
    int32_t *const sum = block->sums + c - block->first;
    const int in_word = delta->runs * delta->length <= KT_LONGEST_ROW;
    int32_t addend0 = kt_delta_addend(product0, multiplier, down, in_word), addend1 = kt_delta_addend(product1, multiplier, down, in_word);
    addend0 += sum[0]; /* both are read before either is written, the first last: of one position the panel holds no second */
    addend1 += sum[block->stride];
    sum[block->stride] = addend1;
    sum[0] = addend0;
}

/* The delta's products with both positions become addends of the sums of its channels; row: of the channel. */
static inline void kt_add_addends(const kt_summed_delta *summed, const kt_sums_block *block, int32_t c, int32_t row, const int32_t found[2])
{
    const kt_trained_delta *const delta = &summed->delta;
    const int32_t size = delta->runs * delta->length;
    const int32_t total = summed->totals == NULL ? kt_total_of_row(delta->delta + row * size, size) : summed->totals[row];
    const int32_t outside = delta->trained.params->outside * total;
    kt_add_two_addends(delta, block, c, found[0] - outside, found[1] - outside);
}

/* The channels of a block that have a row, two at a time; of an odd number the last one twice. */
static __attribute__((noinline)) void kt_add_packed_delta(const kt_summed_delta *summed, const kt_sums_block *block)
{
    const kt_trained_delta *const delta = &summed->delta;
    const int32_t size = delta->runs * delta->length, end = block->first + block->count;
    int32_t channel[2], row[2];
    int32_t waiting = 0, c;
    for (c = block->first; c < end || waiting == 1; c++) {
        const int32_t found = c >= end ? row[0] : delta->rows == NULL ? c : delta->rows[c];
        kt_row_pair pair;
        if (found < 0) {
            continue;
        }
        channel[waiting] = c;
        row[waiting++] = found;
        if (waiting == 1) {
            continue;
        }
        waiting = 0;
        pair.rows[0] = delta->delta + row[0] * size;
        pair.rows[1] = delta->delta + row[1] * size;
        kt_delta_pair_products(delta, block->panel, &pair);
        kt_add_addends(summed, block, channel[0], row[0], pair.sums[0]);
        if (c < end) {
            kt_add_addends(summed, block, channel[1], row[1], pair.sums[1]);
        }
    }
}

static void kt_finish_delta(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    const kt_summed_delta *const summed = (const kt_summed_delta *)trained;
    if (summed->packed != NULL) {
        kt_finish_packed_delta(&summed->delta, summed->packed, block, y);
        return;
    }
    kt_add_packed_delta(summed, block);
    kt_add_bias(trained, block);
    kt_requantize_block(trained, block, y);
}

KT_INLINE void kt_run_delta(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y, void *scratch, kt_product_kernel *product)
{
    const int32_t channels = params->layer.window.output[KT_CHANNELS];
    kt_summed_delta summed = {kt_trained_delta_of(params, bias, delta, delta_exponent), NULL, NULL};
    const int32_t size = summed.delta.runs * summed.delta.length;
    int32_t totals[KT_MOST_TOTALS];
    kt_packed_delta packed;
    int32_t c;
    if (params->packed_rows > 0) {
        int32_t *const words = kt_pack_delta(&packed, &summed.delta, params->packed_rows, (int32_t *)scratch + 2 * params->layer.pairs);
        kt_find_steps(&packed, &summed.delta, words);
        summed.packed = &packed;
    } else if (channels <= KT_MOST_TOTALS) {
        for (c = 0; c < channels; c++) {
            const int32_t row = params->rows == NULL ? c : params->rows[c];
            if (row >= 0) {
                totals[row] = kt_total_of_row(delta + row * size, size);
            }
        }
        summed.totals = totals;
    }
    kt_packed_trained_walk(&summed.delta.trained, x, y, scratch, product, kt_finish_delta);
}

#endif
