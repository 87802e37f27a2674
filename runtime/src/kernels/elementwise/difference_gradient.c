/* Gradients of the operands of SQUARED_DIFFERENCE. */
#include "reduction.h"

static int32_t difference_factor(const kt_difference_gradient_params *p, int32_t own, int32_t other)
{
    return kt_shift_round((own + p->offset[0]) * p->multiplier[0] - (other + p->offset[1]) * p->multiplier[1], 10);
}

#if KT_ROW_PARTS
KT_INLINE kt_word_lanes difference_factor_lanes(const kt_difference_gradient_params *p, kt_word_lanes own, kt_word_lanes other)
{
    const kt_word_lanes found = (own + p->offset[0]) * p->multiplier[0] - (other + p->offset[1]) * p->multiplier[1];
    return (found >> 10) + ((found >> 9) & 1);
}
#endif

void kt_difference_gradient_s8(const kt_difference_gradient_params *params, const int8_t *g, const int8_t *own,
                               const int8_t *other, int8_t *result, void *sums)
{
    KT_PAIR_GRADIENT(kt_difference_gradient_params, difference_factor)
}
