/* Sum of two gradients that meet where the forward pass forked.
 *
 *     result = saturate8(shift_round(g * m_g + other * m_other, shift)), half up
 *
 * m is the scale of a path relative to the larger one, in 1/2^14: the scales need not be powers of two apart. */
#include "kt/kernels.h"
#include "kt/numerics.h"

void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    const kt_gradient_sum_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        const int32_t sum = g[i] * p.multiplier[0] + other[i] * p.multiplier[1];
        result[i] = kt_saturate8(kt_shift_round(sum, p.shift));
    }
}
