/* attention.h: attention, a row at a time. Included behind the definitions of matmul_sum and weighted_sums, which are kt_matmul_sum and
 * kt_weighted_sums or give their bits. */
#include "attention_row.h"
#include "weighted_sums.h"

static inline void attention(const kt_attention_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *y, int32_t *scratch)
{
    const kt_attention *const p = &params->attention;
    int32_t *const sums = scratch;
    int8_t *const codes = (int8_t *)(sums + p->channels);
    int32_t batch, query;
    for (batch = 0; batch < p->scores.batches; batch++) {
        for (query = 0; query < p->scores.rows; query++) {
            const span keys = span_of(query, p->before, p->after, p->scores.columns);
            const kt_rows rows = {v + keys.first * p->v[1], {p->v[1], p->v[2]}, p->v_offset};
            softmax_row row;
            scores_of(p, &p->scores, q + query * p->scores.x[1], k, keys, codes);
            row = softmax_of(p, codes, keys);
            probabilities_of(p, row, codes, keys, codes);
            weighted_sums(&rows, codes + keys.first, 128, keys.last - keys.first, p->channels, sums);
            store_results(sums, keys.last - keys.first, p->channels, params->multiplier, params->shift, params->output_offset,
                          y + query * params->y[1], params->y[2]);
        }
        q += p->scores.x[0];
        k += p->scores.other[0];
        v += p->v[0];
        y += params->y[0];
    }
}
