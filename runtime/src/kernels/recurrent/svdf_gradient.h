/* Gradient of the slice that one call of SVDF reads, filter by filter. */
#ifndef KT_RECURRENT_SVDF_GRADIENT_H
#define KT_RECURRENT_SVDF_GRADIENT_H

#include <string.h>

#include "feature.h"

/* The share of one filter; newest: g of its unit times the weight of its new feature. The feature has the range [low, high]. */
static inline void add_filter(const kt_svdf_gradient_params *params, int32_t filter, int32_t newest, const int8_t *x, int32_t low, int32_t high,
                              int32_t *sums)
{
    const kt_svdf_params *p = &params->layer;
    const int8_t *weights = p->weights + filter * p->depth;
    const int32_t found = feature(p, weights, x, low, high);
    const int32_t narrow = kt_shift_round(newest, params->narrowing);
    int32_t i;
    if (found == low || found == high) {
        return;
    }
    for (i = 0; i < p->depth; i++) {
        sums[i] += narrow * weights[i];
    }
}

static inline void write_gradient(const kt_svdf_gradient_params *params, const int32_t *sums, int8_t *dx)
{
    int32_t i;
    for (i = 0; i < params->layer.depth; i++) {
        dx[i] = kt_saturate8(kt_shift_round(sums[i], params->shift));
    }
}

/* time: the weights of time, of 16 bits or, where that is NULL, of 8; the state has as many. scratch: `depth` sums. */
static inline void svdf_input_gradient(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *time,
                                       const int16_t *wide_time, int8_t *dx, int32_t *scratch)
{
    const kt_svdf_params *p = &params->layer;
    const int32_t low = wide_time == NULL ? INT8_MIN : INT16_MIN, high = wide_time == NULL ? INT8_MAX : INT16_MAX;
    int32_t unit, filter;
    memset(scratch, 0, (size_t)p->depth * sizeof *scratch);
    for (unit = 0; unit < p->units; unit++) {
        for (filter = unit * p->rank; filter < (unit + 1) * p->rank; filter++) {
            const int32_t last = (filter + 1) * p->memory - 1;
            const int32_t newest = wide_time == NULL ? time[last] : wide_time[last];
            add_filter(params, filter, g[unit] * newest, x, low, high, scratch);
        }
    }
    write_gradient(params, scratch, dx);
}

#endif
