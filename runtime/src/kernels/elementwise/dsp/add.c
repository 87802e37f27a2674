/* kt_add_s8 for the DSP extension. */
#include "../add.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "sum.h"

static int prepared(const kt_add_params *p, int exact, kt_sum_constants *c)
{
    return kt_sum_constants_of(c, exact, INT32_C(1) << 20, p->input_offset, p->output_offset, p->multiplier, p->shift);
}

/* Apart, so that its loop stands once for either operand. */
static void add_fours(const kt_sum_constants *c, const int8_t *exact, const int8_t *scaled, const int32_t *clamp,
                      int8_t *y, int32_t whole)
{
    kt_sum_fours(c, exact, scaled, 1, 1, clamp, y, whole);
}

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t size = params->size & ~3;
    int32_t whole = 0;
    kt_sum_constants c;
    if (prepared(params, 0, &c)) {
        add_fours(&c, x, other, params->clamp, y, size);
        whole = size;
    } else if (prepared(params, 1, &c)) {
        add_fours(&c, other, x, params->clamp, y, size);
        whole = size;
    }
    kt_add_from(params, x, other, y, whole);
}

#endif
