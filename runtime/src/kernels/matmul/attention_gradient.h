/* attention_gradient.h: the gradient of attention in two passes. Included behind the definitions of matmul_sum and weighted_sums, as attention.h. */
#include "attention_slopes.h"
#include "weighted_sums.h"

/* What is kept of a query: its softmax, and the mean of its rates. Lanes of Helium read it as words. */
#if KT_MVE
typedef struct __attribute__((may_alias)) {
#else
typedef struct {
#endif
    int32_t scale;
    int16_t mean;
    int8_t largest;
    int8_t over;
} kept_row;

/* One batch: gradients, operands and results of it. */
typedef struct {
    const int8_t *g, *q, *k, *v;
    int8_t *dq, *dk, *dv;
} attention_batch;

/* Both products with their roles changed: a row for each key. Sums of a row of gradients; what is kept; rows of scores, of probabilities, and of
 * gradients. */
typedef struct {
    kt_matmul scores, rates;
    int32_t *sums;
    kept_row *kept;
    int8_t *codes, *probabilities, *slopes;
} attention_workspace;

/* The gradient of a query, and what is kept of it. */
static inline void query_gradient(const kt_attention_gradient_params *params, const attention_batch *b, int32_t query, const attention_workspace *w)
{
    const kt_attention *const p = &params->attention;
    const span keys = span_of(query, p->before, p->after, p->scores.columns);
    const kt_rows rows = {b->k + keys.first * p->scores.other[1], {p->scores.other[1], p->scores.other[3]}, p->scores.offset[1]};
    softmax_row row;
    int32_t mean = 0;
    scores_of(p, &p->scores, b->q + query * p->scores.x[1], b->k, keys, w->codes);
    row = softmax_of(p, w->codes, keys);
    if (b->dq != NULL || b->dk != NULL) {
        probabilities_of(p, row, w->codes, keys, w->probabilities);
        rates_of(params, &params->rates, b->g + query * params->rates.x[1], b->v, keys, w->probabilities, w->slopes);
        mean = mean_of(keys, w->probabilities, w->slopes);
    }
    w->kept[query] = (kept_row){row.scale, (int16_t)mean, (int8_t)row.largest, (int8_t)row.over};
    if (b->dq != NULL) {
        slopes_of(params, keys, w->probabilities, mean, w->codes, w->slopes);
        weighted_sums(&rows, w->slopes + keys.first, 0, keys.last - keys.first, p->scores.depth[1], w->sums);
        store_row(w->sums, p->scores.depth[1], params->shift[0], b->dq + query * p->scores.x[1], p->scores.x[3]);
    }
}

/* Probabilities of a key for the queries that see it, less 128. */
static inline void key_probabilities(const kt_attention *p, const kept_row *kept, const int8_t *codes, span seeing, int8_t *probabilities)
{
    const int8_t *const table = p->table + 128;
    int32_t i = seeing.first;
#if KT_MVE
    for (; i + 4 <= seeing.last; i += 4) {
        kt_kept_probabilities(p->table, p->exponentials, &kept[i], codes + i, probabilities + i);
    }
#endif
    for (; i < seeing.last; i++) {
        const int32_t exponential = p->exponentials[kept[i].largest - table[codes[i]]];
        probabilities[i] = (int8_t)(probability_of(exponential, kept[i].scale, kept[i].over) - 128);
    }
}

/* Gradients of its scores, in the place of those of its probabilities. */
static inline void key_slopes(const kt_attention_gradient_params *params, const kept_row *kept, const int8_t *probabilities, const int8_t *codes,
                              span seeing, int8_t *slopes)
{
    int32_t i = seeing.first;
#if KT_MVE
    for (; i + 4 <= seeing.last; i += 4) {
        kt_kept_slopes(&kept[i], probabilities + i, params->softmax_shift, slopes + i);
    }
    kt_slopes_through(params->through, codes + seeing.first, i - seeing.first, slopes + seeing.first);
#endif
    for (; i < seeing.last; i++) {
        slopes[i] = slope_of(params, probabilities[i] + 128, slopes[i], kept[i].mean, codes[i]);
    }
}

/* The gradients of a key and of its values, from the queries that see it. */
static inline void key_gradient(const kt_attention_gradient_params *params, const attention_batch *b, int32_t key, const attention_workspace *w)
{
    const kt_attention *const p = &params->attention;
    const span seeing = span_of(key, p->after, p->before, p->scores.rows);
    const int32_t count = seeing.last - seeing.first;
    const kt_rows queries = {b->q + seeing.first * p->scores.x[1], {p->scores.x[1], p->scores.x[3]}, p->scores.offset[0]};
    const kt_rows results = {b->g + seeing.first * params->rates.x[1], {params->rates.x[1], params->rates.x[3]}, 0};
    scores_of(p, &w->scores, b->k + key * p->scores.other[1], b->q, seeing, w->codes);
    key_probabilities(p, w->kept, w->codes, seeing, w->probabilities);
    if (b->dk != NULL) {
        rates_of(params, &w->rates, b->v + key * p->v[1], b->g, seeing, w->probabilities, w->slopes);
        key_slopes(params, w->kept, w->probabilities, w->codes, seeing, w->slopes);
        weighted_sums(&queries, w->slopes + seeing.first, 0, count, p->scores.depth[1], w->sums);
        store_row(w->sums, p->scores.depth[1], params->shift[1], b->dk + key * p->scores.other[1], p->scores.other[3]);
    }
    if (b->dv != NULL) {
        weighted_sums(&results, w->probabilities + seeing.first, 128, count, p->channels, w->sums);
        store_row(w->sums, p->channels, params->shift[2], b->dv + key * p->v[1], p->v[2]);
    }
}

static inline void attention_gradient(const kt_attention_gradient_params *params, attention_batch b, int32_t *scratch)
{
    const kt_attention *const p = &params->attention;
    const int32_t row = (kt_maximum(p->scores.rows, p->scores.columns) + 3) / 4 * 4;
    kept_row *const kept = (kept_row *)(scratch + kt_maximum(p->scores.depth[1], p->channels));
    int8_t *const rows = (int8_t *)(kept + p->scores.rows);
    const attention_workspace w = {
        kt_matmul_turned(&p->scores), kt_matmul_turned(&params->rates), scratch, kept, rows, rows + row, rows + 2 * row,
    };
    int32_t batch, i;
    for (batch = 0; batch < p->scores.batches; batch++) {
        for (i = 0; i < p->scores.rows; i++) {
            query_gradient(params, &b, i, &w);
        }
        for (i = 0; i < p->scores.columns && (b.dk != NULL || b.dv != NULL); i++) {
            key_gradient(params, &b, i, &w);
        }
        b.g += params->rates.x[0];
        b.q += p->scores.x[0];
        b.k += p->scores.other[0];
        b.v += p->v[0];
        b.dq = b.dq != NULL ? b.dq + p->scores.x[0] : NULL;
        b.dk = b.dk != NULL ? b.dk + p->scores.other[0] : NULL;
        b.dv = b.dv != NULL ? b.dv + p->v[0] : NULL;
    }
}
