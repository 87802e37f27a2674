/* attention_slopes.h: the gradient of one score, for both ways of going over them. Included behind the definition of matmul_sum. */
#ifndef KT_ATTENTION_SLOPES_H
#define KT_ATTENTION_SLOPES_H

#include "../elementwise/softmax_gradient.h"
#include "attention_row.h"

/* Whether one of four probabilities, less 128, is not 0. */
static inline int any_of_four(const int8_t *probabilities)
{
    uint32_t word;
    memcpy(&word, probabilities, sizeof word);
    return word != UINT32_C(0x80808080);
}

/* Gradients of probabilities, of one row of `product`, which is params->rates or that with its roles changed; any where all of four neighbours have
 * no probability. probabilities: less 128. */
KT_ROW_PART void rates_of(const kt_attention_gradient_params *params, const kt_matmul *product, const int8_t *row, const int8_t *columns, span seen,
                          const int8_t *probabilities, int8_t *rates)
{
    const int32_t step = product->other[1], shift = params->rate_shift;
    const int32_t initial = matmul_initial(product, row);
    int32_t j = seen.first, c;
#if KT_ROW_PARTS
    while (j + 4 <= seen.last) {
        const int32_t count = kt_minimum(seen.last - j, KT_ROW_PIECE) / 4 * 4;
        int32_t sums[KT_ROW_PIECE] = {0};
        for (c = 0; c < count; c += 4) {
            if (any_of_four(probabilities + j + c)) {
                matmul_sums(product, row, initial, columns + (j + c) * step, sums + c);
            }
        }
        kt_round_row(sums, count, shift, rates + j);
        j += count;
    }
#endif
    for (; j < seen.last; j += 4) {
        const int32_t count = kt_minimum(seen.last - j, 4);
        int32_t sums[4] = {0, 0, 0, 0};
        if (count == 4 && any_of_four(probabilities + j)) {
            matmul_sums(product, row, initial, columns + j * step, sums);
        }
        for (c = 0; c < count; c++) {
            const int32_t sum = count < 4 && probabilities[j + c] != -128 ? matmul_sum(product, row, columns + (j + c) * step) : sums[c];
            rates[j + c] = kt_saturate8(kt_shift_round(sum, shift));
        }
    }
}

/* Their mean in a row, times 256. */
KT_ROW_PART int32_t mean_of(span seen, const int8_t *probabilities, const int8_t *rates)
{
#if KT_ROW_PARTS
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

/* slope_of a row whose mean is known, in the place of the gradients of probabilities. */
KT_ROW_PART void slopes_of(const kt_attention_gradient_params *params, span seen, const int8_t *probabilities, int32_t mean, const int8_t *codes,
                           int8_t *slopes)
{
#if KT_ROW_PARTS
    kt_softmax_slopes(probabilities + seen.first, mean, params->softmax_shift, seen.last - seen.first, slopes + seen.first);
#endif
#if KT_MVE
    kt_slopes_through(params->through, codes + seen.first, seen.last - seen.first, slopes + seen.first);
#else
    int32_t j;
    for (j = seen.first; j < seen.last; j++) {
#if KT_ROW_PARTS
        slopes[j] = slope_through(params, slopes[j], codes[j]);
#else
        slopes[j] = slope_of(params, probabilities[j] + 128, slopes[j], mean, codes[j]);
#endif
    }
#endif
}

/* A row of gradients that stands in sums, brought to int8. */
KT_ROW_PART void store_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row, int32_t step)
{
    int32_t c;
#if KT_ROW_PARTS
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
