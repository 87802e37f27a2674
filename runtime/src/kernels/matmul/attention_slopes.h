/* attention_slopes.h: the gradient of one score, for both ways of going over them. Included behind the definition of matmul_sum. */
#ifndef KT_ATTENTION_SLOPES_H
#define KT_ATTENTION_SLOPES_H

#include "../elementwise/softmax_gradient.h"
#include "attention_row.h"

/* The gradient of a probability: that of the query's result times the key's values. */
static inline int8_t rate_of(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *v)
{
    return kt_saturate8(kt_shift_round(matmul_sum(&params->rates, g, v), params->rate_shift));
}

/* The gradient of a score from those of the probabilities of its row. */
static inline int8_t slope_of(const kt_attention_gradient_params *params, int32_t probability, int8_t rate, int32_t mean, int8_t code)
{
    const int8_t slope = softmax_slope(probability, rate, mean, params->softmax_shift);
    return (int8_t)(params->through[slope + 128] & params->through[256 + code + 128]);
}

/* Rates of a row, 0 where the probability is; returns their mean, times 256. probabilities: less 128. */
static inline int32_t rates_of(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *v, span keys, const int8_t *probabilities,
                               int8_t *rates)
{
    int32_t sum = 0, total = 0, j;
    for (j = keys.first; j < keys.last; j++) {
        const int32_t probability = probabilities[j] + 128;
        rates[j] = 0;
        if (probability != 0) {
            rates[j] = rate_of(params, g, v + j * params->rates.other[1]);
            sum += probability * rates[j];
            total += probability;
        }
    }
    return softmax_mean(sum, total);
}

/* A row of gradients that stands in sums, brought to int8. */
static inline void store_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row, int32_t step)
{
    int32_t c;
    for (c = 0; c < count; c++) {
        row[c * step] = kt_saturate8(kt_shift_round(sums[c], shift));
    }
}

#endif
