/* Gradients of the operands of MAXIMUM and MINIMUM, in halves: all of it for the one that was taken, half where they
 * are equal. */
#include "reduction.h"

static int32_t choice_factor(const kt_choice_gradient_params *p, int32_t own, int32_t other)
{
    return 1 + p->sign * ((own > other) - (own < other));
}

#if KT_ROW_PARTS
KT_INLINE kt_word_lanes choice_factor_lanes(const kt_choice_gradient_params *p, kt_word_lanes own, kt_word_lanes other)
{
    return 1 + p->sign * ((kt_word_lanes)(own < other) - (kt_word_lanes)(own > other)); /* -1 where it is so */
}
#endif

void kt_choice_gradient_s8(const kt_choice_gradient_params *params, const int8_t *g, const int8_t *own,
                           const int8_t *other, int8_t *result, void *sums)
{
    KT_PAIR_GRADIENT(kt_choice_gradient_params, choice_factor)
}
