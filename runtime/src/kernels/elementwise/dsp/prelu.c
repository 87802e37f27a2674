/* kt_prelu_s8 for the DSP extension: SMMLAR rounds, and adds the half of the second rounding, as in mul.c.
 *
 * What is not negative needs nothing taken off for its sign, so that a shift of 0 or to the left is one of 0 there. */
#include "../prelu.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "sum.h"

typedef struct {
    int32_t offset, slope_offset;
    int32_t unit; /* what a value that is not negative is multiplied by: 2^(1 + bits to the left) */
    int32_t multiplier, half, shift;
    int32_t slope_multiplier, slope_half, slope_shift;
} constants;

static int prepared(const kt_prelu_params *p, constants *c)
{
    const int32_t left = kt_maximum(p->shift[0], 0);
    c->shift = kt_maximum(-p->shift[0], 0);
    if (left > KT_LARGEST_SHIFT || c->shift > KT_LARGEST_SHIFT || !kt_rounds_twice(p->shift[1])) {
        return 0;
    }
    c->offset = p->input_offset[0];
    c->slope_offset = 2 * p->input_offset[1];
    c->unit = INT32_C(2) << left;
    c->multiplier = p->multiplier[0];
    c->half = (c->shift > 0 ? INT32_C(1) << (c->shift - 1) : 0) + p->output_offset * (INT32_C(1) << c->shift);
    c->slope_multiplier = p->multiplier[1];
    c->slope_shift = -p->shift[1];
    c->slope_half = (INT32_C(1) << (c->slope_shift - 1)) + p->output_offset * (INT32_C(1) << c->slope_shift);
    return 1;
}

static inline int32_t element(const constants *c, int32_t x, int32_t slope)
{
    const int32_t value = x + c->offset, product = value * (2 * slope + c->slope_offset);
    const int32_t own = kt_add_high_product(value * c->unit, c->multiplier, c->half) >> c->shift;
    const int32_t sloped = kt_add_high_product(product, c->slope_multiplier, c->slope_half) + (product >> 31);
    return __ssat(value >= 0 ? own : sloped >> c->slope_shift, 8);
}

void kt_prelu_s8(const kt_prelu_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    int32_t whole = 0;
    constants c;
    if (prepared(params, &c)) {
        for (; whole < (params->size & ~3); whole += 4) {
            const uint32_t u = kt_load_word(x + whole), v = kt_load_word(other + whole);
            const int32_t y0 = element(&c, (int8_t)u, (int8_t)v);
            const int32_t y1 = element(&c, (int8_t)(u >> 8), (int8_t)(v >> 8));
            const int32_t y2 = element(&c, (int8_t)(u >> 16), (int8_t)(v >> 16));
            const int32_t y3 = element(&c, (int8_t)(u >> 24), (int8_t)(v >> 24));
            kt_store_word(y + whole, kt_bytes(y0, y1, y2, y3));
        }
    }
    kt_prelu_from(params, x, other, y, whole);
}

#endif
