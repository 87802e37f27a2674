/* attention_row.h: one row of attention, from scores to probabilities. Included behind the definition of matmul_sum, as batch_matmul.h. */
#ifndef KT_ATTENTION_ROW_H
#define KT_ATTENTION_ROW_H

#include "../elementwise/softmax.h"
#include "kt/kernels/matmul.h"
#include "kt/numerics.h"
#include "matmul.h"

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

/* The code of a score. */
static inline int8_t score_of(const kt_attention *p, const int8_t *q, const int8_t *k)
{
    return kt_clamp_with_offset(kt_requantize(matmul_sum(&p->scores, q, k), p->multiplier, p->shift), p->score_offset, -128, 127);
}

/* Codes of the scores of a query; k: of the batch. */
static inline void scores_of(const kt_attention *p, const int8_t *q, const int8_t *k, span keys, int8_t *codes)
{
    int32_t j;
    for (j = keys.first; j < keys.last; j++) {
        codes[j] = score_of(p, q, k + j * p->scores.other[1]);
    }
}

/* What a softmax needs to know of its row: the largest value, and what an exponential is multiplied by. */
static inline softmax_row softmax_of(const kt_attention *p, const int8_t *codes, span keys)
{
    int32_t largest = -128;
    uint32_t sum = 0;
    int32_t bits, j;
    for (j = keys.first; j < keys.last; j++) {
        largest = kt_maximum(largest, p->table[codes[j] + 128]);
    }
    for (j = keys.first; j < keys.last; j++) {
        sum += (uint32_t)kt_divide_by_power(p->exponentials[largest - p->table[codes[j] + 128]], SUM_BITS);
    }
    bits = kt_bit_length(sum);
    return (softmax_row){largest, reciprocal(sum, bits), SUM_BITS - (32 - bits)};
}

/* The probability of a score, in 1/256. */
static inline int32_t probability_of(const kt_attention *p, softmax_row row, int8_t code)
{
    const int32_t shift = row.over + 31 - 8;
    if (shift > 31) {
        return 0;
    }
    return kt_clamp(kt_divide_by_power(kt_high_multiply(row.scale, p->exponentials[row.largest - p->table[code + 128]]), shift), 0, 255);
}

#endif
