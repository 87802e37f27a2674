/* elementwise_chain.h: products with and sums of constants, one after the other. */
#ifndef KT_ELEMENTWISE_CHAIN_H
#define KT_ELEMENTWISE_CHAIN_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

enum { KT_CHAIN_STEPS = 4 };

/* The steps in order. */
static inline void kt_chain_steps(const kt_elementwise_chain_params *params, kt_chain_step *steps)
{
    steps[0] = params->first;
    steps[1] = params->second;
    steps[2] = params->third;
    steps[3] = params->fourth;
}

static inline int8_t kt_chain_element(const kt_chain_step *s, int32_t x, int32_t constant)
{
    int32_t value = x + s->input_offset;
    if (s->adds) {
        value = kt_requantize(value * (INT32_C(1) << 20), s->multiplier[0], s->shift[0]) + constant;
        value = kt_requantize(value, s->multiplier[1], s->shift[1]);
    } else {
        value = kt_requantize(value * constant, s->multiplier[0], s->shift[0]);
    }
    return kt_clamp_with_offset(value, s->output_offset, s->clamp[0], s->clamp[1]);
}

#endif
