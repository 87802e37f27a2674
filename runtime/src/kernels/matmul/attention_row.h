/* attention_row.h: one row of attention, from scores to probabilities. Included behind the definition of matmul_sum, as batch_matmul.h. */
#ifndef KT_ATTENTION_ROW_H
#define KT_ATTENTION_ROW_H

#include "../elementwise/softmax.h"
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"
#include "kt/numerics.h"
#include "matmul.h"

#if KT_VECTOR
#include "../elementwise/softmax_gradient.h"
#include "vector/attention_row.h"
#elif KT_MVE
#include "mve/attention_row.h"
#elif KT_DSP
#include "dsp/attention_row.h"
#endif

/* Sums of so many products of 8 bits with their offsets are below 2^30 in size. */
enum { KT_FEW_PRODUCTS = 16512 };

/* From first to last - 1. */
typedef struct {
    int32_t first;
    int32_t last;
} span;

/* Places from `place` - before to `place` + after that there are. */
static inline span span_of(int32_t place, int32_t before, int32_t after, int32_t count)
{
    return (span){kt_maximum(place - before, 0), kt_minimum(place + after + 1, count)};
}

/* Codes of the scores of one row of `product`, which is p->scores or that with its roles changed. row: of x; columns: the first of the batch. */
KT_ROW_PART void scores_of(const kt_attention *p, const kt_matmul *product, const int8_t *row, const int8_t *columns, span seen, int8_t *codes)
{
    const int32_t step = product->other[1], multiplier = p->multiplier, shift = p->shift, offset = p->score_offset;
    const int32_t right = kt_minimum(-shift, 31);
    const int32_t initial = matmul_initial(product, row);
    int32_t j = seen.first, c;
#if KT_ROW_PARTS
    while (j < seen.last && right > 0 && multiplier >= 0 && product->depth[0] * product->depth[1] <= KT_FEW_PRODUCTS) {
        const int32_t count = kt_minimum(seen.last - j, KT_ROW_PIECE);
        int32_t sums[KT_ROW_PIECE];
        for (c = 0; c + 4 <= count; c += 4) {
            matmul_sums(product, row, initial, columns + (j + c) * step, sums + c);
        }
        for (; c < count; c++) {
            sums[c] = matmul_sum(product, row, columns + (j + c) * step);
        }
        kt_codes_of_sums(sums, count, multiplier, right, offset, codes + j);
        j += count;
    }
#endif
    for (; j + 4 <= seen.last && right > 0; j += 4) {
        int32_t sums[4];
        matmul_sums(product, row, initial, columns + j * step, sums);
        for (c = 0; c < 4; c++) {
            codes[j + c] = kt_clamp_with_offset(kt_requantize_right(sums[c], multiplier, right), offset, -128, 127);
        }
    }
    for (; j < seen.last; j++) {
        const int32_t sum = matmul_sum(product, row, columns + j * step);
        codes[j] = kt_clamp_with_offset(kt_requantize(sum, multiplier, shift), offset, -128, 127);
    }
}

/* What a softmax needs to know of its row: the largest value, and what an exponential is multiplied by. */
KT_ROW_PART softmax_row softmax_of(const kt_attention *p, const int8_t *codes, span keys)
{
    const int32_t *const exponentials = p->exponentials;
    int32_t largest = -128;
    uint32_t sum = 0;
    int32_t bits;
#if KT_MVE
    const int32_t count = keys.last - keys.first;
    largest = kt_largest_of(p->table, codes + keys.first, count);
    sum = kt_sum_of_exponentials(p->table, exponentials, largest, codes + keys.first, count, SUM_BITS);
#else
    const int8_t *const table = p->table + 128;
    int32_t j;
    for (j = keys.first; j < keys.last; j++) {
        largest = kt_maximum(largest, table[codes[j]]);
    }
    for (j = keys.first; j < keys.last; j++) { /* kt_divide_by_power of what is not negative */
        sum += ((uint32_t)exponentials[largest - table[codes[j]]] + (UINT32_C(1) << (SUM_BITS - 1))) >> SUM_BITS;
    }
#endif
    bits = kt_bit_length(sum);
    return (softmax_row){largest, reciprocal(sum, bits), SUM_BITS - (32 - bits)};
}

/* What the product of an exponential and the scale of its row is shifted by to a probability in 1/256. */
static inline int32_t shift_of(int32_t over)
{
    return over + 31 - 8;
}

/* The probability in 1/256 of an exponential: kt_divide_by_power(kt_high_multiply(scale, exponential), shift) of what is not negative. */
static inline int32_t probability_of(int32_t exponential, int32_t scale, int32_t over)
{
    const int32_t shift = shift_of(over);
    const uint32_t product = (uint32_t)kt_high_multiply(scale, exponential);
    return shift > 31 ? 0 : kt_minimum((int32_t)((product + (UINT32_C(1) << (shift - 1))) >> shift), 255);
}

/* Probabilities of a row, less 128; codes and probabilities may be the same. */
KT_ROW_PART void probabilities_of(const kt_attention *p, softmax_row row, const int8_t *codes, span keys, int8_t *probabilities)
{
#if KT_DSP
    kt_probabilities_of_codes(p->table, p->exponentials, row.largest, row.scale, shift_of(row.over), codes + keys.first, keys.last - keys.first,
                              probabilities + keys.first);
#else
    const int8_t *const table = p->table + 128;
    const int32_t *const exponentials = p->exponentials;
    int32_t j = keys.first;
#if KT_VECTOR
    const int32_t shift = shift_of(row.over);
    for (; j < keys.last && shift <= 31;) {
        const int32_t count = kt_minimum(keys.last - j, KT_ROW_PIECE);
        int32_t found[KT_ROW_PIECE];
        int32_t c;
        for (c = 0; c < count; c++) {
            found[c] = exponentials[row.largest - table[codes[j + c]]];
        }
        kt_probabilities_of(found, count, row.scale, shift, probabilities + j);
        j += count;
    }
#endif
    for (; j < keys.last; j++) {
        probabilities[j] = (int8_t)(probability_of(exponentials[row.largest - table[codes[j]]], row.scale, row.over) - 128);
    }
#endif
}

/* A row that stands in sums of so many products, requantised. step: from one result to the next. */
KT_ROW_PART void store_results(const int32_t *sums, int32_t products, int32_t count, int32_t multiplier, int32_t shift, int32_t offset, int8_t *y,
                               int32_t step)
{
    int32_t c;
#if KT_ROW_PARTS
    if (step == 1 && shift < 0 && multiplier >= 0 && products <= KT_FEW_PRODUCTS) {
        kt_codes_of_sums(sums, count, multiplier, kt_minimum(-shift, 31), offset, y);
        return;
    }
#endif
    (void)products;
    for (c = 0; c < count; c++) {
        y[c * step] = kt_clamp_with_offset(kt_requantize(sums[c], multiplier, shift), offset, -128, 127);
    }
}

#endif
