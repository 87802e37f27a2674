/* Gradients of PRELU, with constant slopes. */
#include "reduction.h"

static int32_t slope_factor(const kt_slope_gradient_params *p, int32_t own, int32_t other)
{
    return own + p->offset[0] >= 0 ? p->factor[0] : kt_shift_round((other + p->offset[1]) * p->factor[1], 8);
}

#if KT_ROW_PARTS
KT_INLINE kt_word_lanes slope_factor_lanes(const kt_slope_gradient_params *p, kt_word_lanes own, kt_word_lanes other)
{
    const kt_word_lanes slope = (other + p->offset[1]) * p->factor[1];
    const kt_word_lanes below = (own + p->offset[0]) >> 31;
    return (kt_word_lanes)kt_choose(below, (slope >> 8) + ((slope >> 7) & 1), (kt_word_lanes)kt_splat(p->factor[0]));
}
#endif

void kt_slope_gradient_s8(const kt_slope_gradient_params *params, const int8_t *g, const int8_t *own,
                          const int8_t *other, int8_t *result, void *sums)
{
    KT_PAIR_GRADIENT(kt_slope_gradient_params, slope_factor)
}
