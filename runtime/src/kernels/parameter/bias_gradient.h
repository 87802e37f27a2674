/* bias_gradient.h: the gradient of some neighbouring biases, one by one. */
#ifndef KT_BIAS_GRADIENT_H
#define KT_BIAS_GRADIENT_H

#include "kt/kernels/parameter.h"
#include "parameter_gradient.h"

/* Channels [first, end). */
static inline void kt_bias_gradient_of(const kt_bias_gradient_params *params, const int8_t *g, float scale,
                                       float *accumulator, int32_t first, int32_t end)
{
    const int32_t channels = params->channels;
    int32_t c, position;
    for (c = first; c < end; c++) {
        const int8_t *gradient = g + c;
        int32_t sum = 0;
        for (position = 0; position < params->positions; position++) {
            sum += gradient[position * channels];
        }
        accumulator[c] = kt_accumulate(accumulator[c], sum, scale);
    }
}

#endif
