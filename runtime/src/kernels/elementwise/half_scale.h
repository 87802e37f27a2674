/* half_scale.h: two operands of which one's scale is half the common one, as the larger of two scales is: its term is exact, and the other's shifted
 * right. */
#ifndef KT_HALF_SCALE_H
#define KT_HALF_SCALE_H

#include "kt/numerics.h"

enum { KT_HALF = 1 << 30 };

/* What both terms are made of. unit: of the exact one, half a step in front of the point; the other is (value + offset) * scale, requantised. */
typedef struct {
    int32_t unit, exact_offset;
    int32_t scale, offset, multiplier, down;
} kt_half_terms;

static inline int kt_is_half(const int32_t *multiplier, const int32_t *shift, int operand)
{
    return multiplier[operand] == KT_HALF && shift[operand] == 0;
}

/* Whether the operand `exact` is so, the other is shifted right and so is the result, by down > 0. */
static inline int kt_has_half(const int32_t *multiplier, const int32_t *shift, int exact)
{
    const int32_t n = kt_is_half(multiplier, shift, 1 - exact) ? 1 : -shift[1 - exact], down = -shift[2];
    return kt_is_half(multiplier, shift, exact) && n > 0 && n < 32 && down > 0 && down < 32;
}

/* one: steps in front of the point. An operand that is exact too is taken twice as large and halved. */
static inline kt_half_terms kt_half_terms_of(const int32_t *input_offset, const int32_t *multiplier, const int32_t *shift, int exact, int32_t one)
{
    const int scaled = 1 - exact, doubled = kt_is_half(multiplier, shift, scaled);
    const kt_half_terms terms = {one / 2, input_offset[exact], doubled ? 2 * one : one, input_offset[scaled], multiplier[scaled],
                                 doubled ? 1 : -shift[scaled]};
    return terms;
}

static inline int32_t kt_exact_term(const kt_half_terms *t, int32_t value)
{
    return (value + t->exact_offset) * t->unit;
}

static inline int32_t kt_other_term(const kt_half_terms *t, int32_t value)
{
    return kt_requantize_right((value + t->offset) * t->scale, t->multiplier, t->down);
}

#endif
