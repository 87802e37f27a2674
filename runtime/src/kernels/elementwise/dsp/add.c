/* kt_add_s8 for the DSP extension: 16 instructions an element instead of a hundred.
 *
 * The scale of one operand is half of the common scale: its multiplier is 2^30, its shift 0, and its term (x + offset) * 2^19. The
 * other term and the sum are rounded twice, by n > 0 bits the second time, which is
 *
 *     (SMMLAR(2 a, multiplier, 2^(n-1)) - (a < 0)) >> n
 *
 * SMMLAR rounds as kt_high_multiply does, and adds the half. The product has the sign of a, or is 0, where the missing one does
 * not matter. */
#include "../add.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

enum { HALF = 1 << 30, LARGEST_SHIFT = 22 };

/* In units of half a common step. exact: of the operand with half the common scale; scaled: of the other one. */
typedef struct {
    int32_t exact_offset;
    int32_t scaled_unit, scaled_offset;
    int32_t scaled_multiplier, scaled_half, scaled_shift;
    int32_t multiplier, half, shift;
} constants;

static int is_half(const kt_add_params *p, int operand)
{
    return p->multiplier[operand] == HALF && p->shift[operand] == 0;
}

/* Whether the constants of the operands exist; exact: the one with half the common scale. Where both have, the other's product is
 * taken twice as large and halved by the second rounding, which is exact. */
static int constants_of(const kt_add_params *p, int exact, constants *c)
{
    const int scaled = 1 - exact;
    const int doubled = is_half(p, scaled);
    const int32_t shift = doubled ? 1 : -p->shift[scaled];
    if (!is_half(p, exact) || shift < 1 || shift > LARGEST_SHIFT || p->shift[2] > -1 || p->shift[2] < -LARGEST_SHIFT) {
        return 0;
    }
    c->exact_offset = p->input_offset[exact] * (INT32_C(1) << 20);
    c->scaled_unit = INT32_C(1) << (doubled ? 22 : 21);
    c->scaled_offset = p->input_offset[scaled] * c->scaled_unit;
    c->scaled_multiplier = p->multiplier[scaled];
    c->scaled_half = INT32_C(1) << (shift - 1);
    c->scaled_shift = shift;
    c->multiplier = p->multiplier[2];
    c->shift = -p->shift[2];
    c->half = (INT32_C(1) << (c->shift - 1)) + p->output_offset * (INT32_C(1) << c->shift);
    return 1;
}

static inline int32_t sum_of(const constants *c, int32_t exact, int32_t scaled)
{
    const int32_t a = scaled * c->scaled_unit + c->scaled_offset;
    const int32_t term = (kt_add_high_product(a, c->scaled_multiplier, c->scaled_half) + (a >> 31)) >> c->scaled_shift;
    const int32_t sum = exact * (INT32_C(1) << 20) + c->exact_offset + 2 * term;
    return __ssat((kt_add_high_product(sum, c->multiplier, c->half) + (sum >> 31)) >> c->shift, 8);
}

/* Elements below `whole`, a multiple of 4. */
static void add_fours(const constants *constant, const int8_t *exact, const int8_t *scaled, const int32_t *clamp, int8_t *y,
                      int32_t whole)
{
    const constants c = *constant;
    const uint32_t low = kt_four(clamp[0]), high = kt_four(clamp[1]);
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(exact + i), v = kt_load_word(scaled + i);
        const int32_t y0 = sum_of(&c, (int8_t)u, (int8_t)v);
        const int32_t y1 = sum_of(&c, (int8_t)(u >> 8), (int8_t)(v >> 8));
        const int32_t y2 = sum_of(&c, (int8_t)(u >> 16), (int8_t)(v >> 16));
        const int32_t y3 = sum_of(&c, (int8_t)(u >> 24), (int8_t)(v >> 24));
        kt_store_word(y + i, kt_clamp_bytes(kt_bytes(y0, y1, y2, y3), low, high));
    }
}

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t size = params->size & ~3;
    int32_t whole = 0;
    constants c;
    if (constants_of(params, 0, &c)) {
        add_fours(&c, x, other, params->clamp, y, size);
        whole = size;
    } else if (constants_of(params, 1, &c)) {
        add_fours(&c, other, x, params->clamp, y, size);
        whole = size;
    }
    kt_add_from(params, x, other, y, whole);
}

#endif
