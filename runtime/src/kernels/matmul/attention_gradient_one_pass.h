/* attention_gradient_one_pass.h: the gradient of attention in one pass. Included behind the definitions of matmul_sum and weighted_sums, as
 * attention.h. */
#include "attention_slopes.h"
#include "weighted_sums.h"

/* sums[c] += weight (row[c] + offset) */
static inline void add_row(int32_t *sums, int32_t weight, const int8_t *row, int32_t step, int32_t offset, int32_t count)
{
    int32_t c = 0;
#if KT_VECTOR
    for (; step == 1 && c + KT_LANES <= count; c += KT_LANES) {
        const kt_word_lanes products = ((kt_word_lanes)kt_widen_codes(row + c) + offset) * weight;
        kt_store_lanes(sums + c, kt_add_lanes(kt_load_lanes(sums + c), (kt_lanes)products));
    }
#elif KT_DSP
    if (step == 1) {
        kt_add_row(sums, weight, row, offset, count);
        return;
    }
#endif
    for (; c < count; c++) {
        sums[c] += weight * (row[c * step] + offset);
    }
}

static inline void attention_gradient_one_pass(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *q, const int8_t *k,
                                               const int8_t *v, int8_t *dq, int8_t *dk, int8_t *dv, int32_t *scratch)
{
    const kt_attention *const p = &params->attention;
    const int32_t depth = p->scores.depth[1];
    const int32_t count = p->scores.columns;
    const int32_t row_bytes = (kt_maximum(p->scores.rows, count) + 3) / 4 * 4;
    int32_t *const key_sums = scratch + depth;
    int32_t *const value_sums = key_sums + (dk != NULL ? count * depth : 0);
    int8_t *const codes = (int8_t *)(value_sums + (dv != NULL ? count * p->channels : 0));
    int8_t *const probabilities = codes + row_bytes;
    int8_t *const slopes = probabilities + row_bytes;
    int32_t batch, i, j;
    for (batch = 0; batch < p->scores.batches; batch++) {
        memset(key_sums, 0, (size_t)((char *)codes - (char *)key_sums));
        for (i = 0; i < p->scores.rows; i++) {
            const span keys = span_of(i, p->before, p->after, count);
            const int8_t *const g_row = g + i * params->rates.x[1];
            const int8_t *const q_row = q + i * p->scores.x[1];
            const kt_rows rows = {k + keys.first * p->scores.other[1], {p->scores.other[1], p->scores.other[3]}, p->scores.offset[1]};
            softmax_row row;
            int32_t mean = 0;
            scores_of(p, &p->scores, q_row, k, keys, codes);
            row = softmax_of(p, codes, keys);
            probabilities_of(p, row, codes, keys, probabilities);
            for (j = keys.first; j < keys.last && dv != NULL; j++) {
                if (probabilities[j] != -128) {
                    add_row(value_sums + j * p->channels, probabilities[j] + 128, g_row, params->rates.x[3], 0, p->channels);
                }
            }
            if (dq == NULL && dk == NULL) {
                continue;
            }
            rates_of(params, &params->rates, g_row, v, keys, probabilities, slopes);
            mean = mean_of(keys, probabilities, slopes);
            slopes_of(params, keys, probabilities, mean, codes, slopes);
            for (j = keys.first; j < keys.last && dk != NULL; j++) {
                if (slopes[j] != 0) {
                    add_row(key_sums + j * depth, slopes[j], q_row, p->scores.x[3], p->scores.offset[0], depth);
                }
            }
            if (dq != NULL) {
                weighted_sums(&rows, slopes + keys.first, 0, keys.last - keys.first, depth, scratch);
                store_row(scratch, depth, params->shift[0], dq + batch * p->scores.x[0] + i * p->scores.x[1], p->scores.x[3]);
            }
        }
        for (j = 0; dk != NULL && j < count; j++) {
            store_row(key_sums + j * depth, depth, params->shift[1], dk + batch * p->scores.other[0] + j * p->scores.other[1], p->scores.other[3]);
        }
        for (j = 0; dv != NULL && j < count; j++) {
            store_row(value_sums + j * p->channels, p->channels, params->shift[2], dv + batch * p->v[0] + j * p->v[1], p->v[2]);
        }
        g += params->rates.x[0];
        q += p->scores.x[0];
        k += p->scores.other[0];
        v += p->v[0];
    }
}
