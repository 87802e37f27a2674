/* parameter_gradient.h: adding exact int32 sums to a float32 accumulator. */
#ifndef KT_PARAMETER_GRADIENT_H
#define KT_PARAMETER_GRADIENT_H

#include "../../product/soft_float.h"
#include "kt/numerics.h"

/* scale * 2^exponent, the exponent limited to what float32 can hold. */
static inline float kt_gradient_scale(float scale, int32_t exponent)
{
    return scale * kt_power_of_two(kt_clamp(exponent, -126, 127));
}

/* accumulator + (float)sum * scale, one rounding an operation. */
static inline float kt_accumulate(float accumulator, int32_t sum, float scale)
{
    const kt_float_factor factor = kt_factor_of(scale);
    return kt_add_scaled_sum(accumulator, sum, &factor);
}

#endif
