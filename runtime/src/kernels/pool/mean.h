/* mean.h: some neighbouring columns of a mean, one by one. */
#ifndef KT_MEAN_H
#define KT_MEAN_H

#include "kt/kernels/pool.h"
#include "kt/numerics.h"

/* The result of a sum without the zero point. */
static inline int8_t kt_mean_of(const kt_mean_params *params, int32_t sum)
{
    const int32_t shifted = sum + params->input_offset * params->extent[1];
    const int32_t scaled = kt_requantize(shifted, params->multiplier, params->shift);
    return kt_clamp_with_offset(scaled, params->output_offset, -128, 127);
}

/* Results [first, inner) of one outer index. */
static inline void kt_mean_from(const kt_mean_params *params, const int8_t *x, int8_t *y, int32_t first)
{
    const int32_t count = params->extent[1];
    const int32_t inner = params->extent[2];
    int32_t i, n;
    for (i = first; i < inner; i++) {
        int32_t sum = 0;
        for (n = 0; n < count; n++) {
            sum += x[n * inner + i];
        }
        y[i] = kt_mean_of(params, sum);
    }
}

#endif
