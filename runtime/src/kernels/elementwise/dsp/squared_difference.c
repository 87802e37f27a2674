/* kt_squared_difference_s8 for the DSP extension: terms as in sum.h, whose difference has 15 bits and a sign.
 *
 * Twice the square fits into 32 bits: a difference is at most 255 * 2^6 of either operand. It is not negative, so that
 * nothing is taken off for its sign. */
#include "../squared_difference.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "sum.h"

static inline int32_t square_of(const kt_sum_constants *c, int32_t exact, int32_t scaled)
{
    const int32_t difference = exact * (INT32_C(1) << 6) + c->exact_offset - kt_scaled_term(c, scaled);
    return __ssat(kt_add_high_product(difference * difference * 2, c->multiplier, c->half) >> c->shift, 8);
}

/* Elements below `whole`, a multiple of 4. */
static void squares(const kt_sum_constants *constant, const int8_t *exact, const int8_t *scaled, int8_t *y,
                    int32_t whole)
{
    const kt_sum_constants c = *constant;
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(exact + i), v = kt_load_word(scaled + i);
        const int32_t y0 = square_of(&c, (int8_t)u, (int8_t)v);
        const int32_t y1 = square_of(&c, (int8_t)(u >> 8), (int8_t)(v >> 8));
        const int32_t y2 = square_of(&c, (int8_t)(u >> 16), (int8_t)(v >> 16));
        const int32_t y3 = square_of(&c, (int8_t)(u >> 24), (int8_t)(v >> 24));
        kt_store_word(y + i, kt_bytes(y0, y1, y2, y3));
    }
}

static int prepared(const kt_squared_difference_params *p, int exact, kt_sum_constants *c)
{
    if (!kt_sum_constants_of(c, exact, INT32_C(1) << 7, p->input_offset, p->output_offset, p->multiplier, p->shift)) {
        return 0;
    }
    c->exact_offset /= 2; /* Half the common scale. */
    return 1;
}

void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other,
                              int8_t *y)
{
    const int32_t size = params->size & ~3;
    int32_t whole = 0;
    kt_sum_constants c;
    if (prepared(params, 0, &c)) {
        squares(&c, x, other, y, size);
        whole = size;
    } else if (prepared(params, 1, &c)) {
        squares(&c, other, x, y, size);
        whole = size;
    }
    kt_squared_difference_from(params, x, other, y, whole);
}

#endif
