/* attention_slopes.h: the gradient of one score, for both ways of going over them. Included behind the definition of matmul_sum. */
#ifndef KT_ATTENTION_SLOPES_H
#define KT_ATTENTION_SLOPES_H

#include "../elementwise/softmax_gradient.h"
#include "attention_row.h"

/* Gradients of probabilities, of one row of `product`, which is params->rates or that with its roles changed; any where all of four neighbours have
 * no probability. probabilities: less 128. */
static inline void rates_of(const kt_attention_gradient_params *params, const kt_matmul *product, const int8_t *row, const int8_t *columns, span seen,
                            const int8_t *probabilities, int8_t *rates)
{
    const int32_t step = product->other[1], shift = params->rate_shift;
    int32_t j = seen.first, c;
#if KT_VECTOR
    for (; j + 4 <= seen.last;) {
        const int32_t count = kt_minimum(seen.last - j, KT_ROW_PIECE) / 4 * 4;
        int32_t sums[KT_ROW_PIECE] = {0};
        for (c = 0; c < count; c += 4) {
            if (kt_word_at(probabilities + j + c) != (int32_t)UINT32_C(0x80808080)) { /* four times -128 */
                matmul_sums(product, row, columns + (j + c) * step, sums + c);
            }
        }
        kt_round_row(sums, count, shift, rates + j);
        j += count;
    }
#endif
    for (; j < seen.last; j += 4) {
        const int32_t count = kt_minimum(seen.last - j, 4);
        int32_t sums[4] = {0, 0, 0, 0};
        int32_t any = 0;
        for (c = 0; c < count; c++) {
            any |= probabilities[j + c] + 128;
        }
        if (any != 0 && count == 4) {
            matmul_sums(product, row, columns + j * step, sums);
        }
        for (c = 0; c < count; c++) {
            const int32_t sum = any != 0 && count < 4 ? matmul_sum(product, row, columns + (j + c) * step) : sums[c];
            rates[j + c] = kt_saturate8(kt_shift_round(sum, shift));
        }
    }
}

/* Their mean in a row, times 256. */
static inline int32_t mean_of(span seen, const int8_t *probabilities, const int8_t *rates)
{
#if KT_VECTOR
    int32_t sums[2];
    kt_mean_sums(probabilities + seen.first, rates + seen.first, seen.last - seen.first, sums);
    return softmax_mean(sums[0], sums[1]);
#else
    int32_t sum = 0, total = 0, j;
    for (j = seen.first; j < seen.last; j++) {
        sum += (probabilities[j] + 128) * rates[j];
        total += probabilities[j] + 128;
    }
    return softmax_mean(sum, total);
#endif
}

/* The gradient of a score from that of what softmax reads. */
static inline int8_t slope_through(const kt_attention_gradient_params *params, int8_t slope, int8_t code)
{
    return (int8_t)(params->through[slope + 128] & params->through[256 + code + 128]);
}

/* The gradient of a score from those of the probabilities of its row. */
static inline int8_t slope_of(const kt_attention_gradient_params *params, int32_t probability, int8_t rate, int32_t mean, int8_t code)
{
    return slope_through(params, softmax_slope(probability, rate, mean, params->softmax_shift), code);
}

/* slope_of a row in two parts, whose first one vectors make for all of it at once. slopes: of probabilities at first. */
static inline void begin_slopes(const kt_attention_gradient_params *params, span seen, const int8_t *probabilities, int32_t mean, int8_t *slopes)
{
#if KT_VECTOR
    kt_softmax_slopes(probabilities + seen.first, mean, params->softmax_shift, seen.last - seen.first, slopes + seen.first);
#else
    (void)params, (void)seen, (void)probabilities, (void)mean, (void)slopes;
#endif
}

static inline int8_t ended_slope(const kt_attention_gradient_params *params, int32_t probability, int8_t begun, int32_t mean, int8_t code)
{
#if KT_VECTOR
    (void)probability, (void)mean;
    return slope_through(params, begun, code);
#else
    return slope_of(params, probability, begun, mean, code);
#endif
}

/* A row of gradients that stands in sums, brought to int8. */
static inline void store_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row, int32_t step)
{
    int32_t c;
#if KT_VECTOR
    if (step == 1) {
        kt_round_row(sums, count, shift, row);
        return;
    }
#endif
    for (c = 0; c < count; c++) {
        row[c * step] = kt_saturate8(kt_shift_round(sums[c], shift));
    }
}

#endif
