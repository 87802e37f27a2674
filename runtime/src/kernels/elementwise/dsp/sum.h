/* sum.h: sums and differences of two tensors for the DSP extension, 19 instructions an element instead of a hundred.
 *
 * The scale of one operand is half of the common scale: its multiplier is 2^30, its shift 0, and its term
 * (x + offset) * 2^19. The other term and the sum are rounded twice, by n > 0 bits the second time, which is
 *
 *     (SMMLAR(2 a, multiplier, 2^(n-1)) - (a < 0)) >> n
 *
 * SMMLAR rounds as kt_high_multiply does, and adds the half. The product has the sign of a, or is 0, where the missing
 * one does not matter. */
#ifndef KT_DSP_SUM_H
#define KT_DSP_SUM_H

#include "kt/kernels/elementwise.h"
#include "../../dsp/simd.h"

enum { KT_HALF_MULTIPLIER = 1 << 30, KT_LARGEST_SHIFT = 22 };

/* In units of half a common step. exact: of the operand with half the common scale; scaled: of the other one. */
typedef struct {
    int32_t exact_offset;
    int32_t scaled_unit, scaled_offset;
    int32_t scaled_multiplier, scaled_half, scaled_shift;
    int32_t multiplier, half, shift;
} kt_sum_constants;

static inline int kt_is_half(int32_t multiplier, int32_t shift)
{
    return multiplier == KT_HALF_MULTIPLIER && shift == 0;
}

/* Whether a second rounding by -shift bits is what the formula above computes. */
static inline int kt_rounds_twice(int32_t shift)
{
    return shift <= -1 && shift >= -KT_LARGEST_SHIFT;
}

/* Whether the constants exist; exact: the operand with half the common scale. Where both have, the other's product is
 * taken twice as large and halved by the second rounding, which is exact. one: steps in front of the point, a power
 * of two; output_offset: in steps of the result. */
static inline int kt_sum_constants_of(kt_sum_constants *c, int exact, int32_t one, const int32_t *input_offset,
                                      int32_t output_offset, const int32_t *multiplier, const int32_t *shift)
{
    const int scaled = 1 - exact;
    const int doubled = kt_is_half(multiplier[scaled], shift[scaled]);
    const int32_t scaled_shift = doubled ? -1 : shift[scaled];
    if (!kt_is_half(multiplier[exact], shift[exact]) || !kt_rounds_twice(scaled_shift) || !kt_rounds_twice(shift[2])) {
        return 0;
    }
    c->exact_offset = input_offset[exact] * one;
    c->scaled_unit = one * (doubled ? 4 : 2);
    c->scaled_offset = input_offset[scaled] * c->scaled_unit;
    c->scaled_multiplier = multiplier[scaled];
    c->scaled_shift = -scaled_shift;
    c->scaled_half = INT32_C(1) << (c->scaled_shift - 1);
    c->multiplier = multiplier[2];
    c->shift = -shift[2];
    c->half = (INT32_C(1) << (c->shift - 1)) + output_offset * (INT32_C(1) << c->shift);
    return 1;
}

/* The term of the operand that is not exact, in common steps. */
static inline int32_t kt_scaled_term(const kt_sum_constants *c, int32_t scaled)
{
    const int32_t a = scaled * c->scaled_unit + c->scaled_offset;
    return (kt_add_high_product(a, c->scaled_multiplier, c->scaled_half) + (a >> 31)) >> c->scaled_shift;
}

/* The sum in steps of the result. */
static inline int32_t kt_sum_of(const kt_sum_constants *c, int32_t exact, int32_t scaled, int exact_sign,
                                int scaled_sign)
{
    const int32_t own = exact * (INT32_C(1) << 20) + c->exact_offset;
    const int32_t sum = exact_sign * own + scaled_sign * 2 * kt_scaled_term(c, scaled);
    return __ssat((kt_add_high_product(sum, c->multiplier, c->half) + (sum >> 31)) >> c->shift, 8);
}

/* Elements below `whole`, a multiple of 4. The signs are constants of a caller. */
static inline void kt_sum_fours(const kt_sum_constants *constant, const int8_t *exact, const int8_t *scaled,
                                int exact_sign, int scaled_sign, const int32_t *clamp, int8_t *y, int32_t whole)
{
    const kt_sum_constants c = *constant;
    const uint32_t low = kt_four(clamp[0]), high = kt_four(clamp[1]);
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(exact + i), v = kt_load_word(scaled + i);
        const int32_t y0 = kt_sum_of(&c, (int8_t)u, (int8_t)v, exact_sign, scaled_sign);
        const int32_t y1 = kt_sum_of(&c, (int8_t)(u >> 8), (int8_t)(v >> 8), exact_sign, scaled_sign);
        const int32_t y2 = kt_sum_of(&c, (int8_t)(u >> 16), (int8_t)(v >> 16), exact_sign, scaled_sign);
        const int32_t y3 = kt_sum_of(&c, (int8_t)(u >> 24), (int8_t)(v >> 24), exact_sign, scaled_sign);
        kt_store_word(y + i, kt_clamp_bytes(kt_bytes(y0, y1, y2, y3), low, high));
    }
}

#endif
