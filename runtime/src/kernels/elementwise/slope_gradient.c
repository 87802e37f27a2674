/* Gradients of PRELU, with constant slopes. */
#include "reduction.h"

static int32_t slope_factor(const kt_slope_gradient_params *p, int32_t own, int32_t other)
{
    return own + p->offset[0] >= 0 ? p->factor[0] : kt_shift_round((other + p->offset[1]) * p->factor[1], 8);
}

void kt_slope_gradient_s8(const kt_slope_gradient_params *params, const int8_t *g, const int8_t *own,
                          const int8_t *other, int8_t *result, void *sums)
{
    KT_PAIR_GRADIENT(kt_slope_gradient_params, slope_factor)
}
