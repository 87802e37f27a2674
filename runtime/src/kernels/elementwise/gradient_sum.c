/* Sum of two gradients that meet where the forward pass forked.
 *
 *     result = saturate8(shift_round(g * m_g + other * m_other, shift)), half up
 *
 * m is the scale of a path relative to the larger one, in 1/2^14: the scales need not be powers of two apart. */
#include "gradient_sum.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    kt_gradient_sum_from(params, g, other, result, 0);
}

#endif
