/* kt_sub_s8 for the DSP extension. */
#include "../sub.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "sum.h"

static int prepared(const kt_sub_params *p, int exact, kt_sum_constants *c)
{
    return kt_sum_constants_of(c, exact, INT32_C(1) << 20, p->input_offset, p->output_offset, p->multiplier, p->shift);
}

void kt_sub_s8(const kt_sub_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t size = params->size & ~3;
    int32_t whole = 0;
    kt_sum_constants c;
    if (prepared(params, 0, &c)) {
        kt_sum_fours(&c, x, other, 1, -1, params->clamp, y, size);
        whole = size;
    } else if (prepared(params, 1, &c)) {
        kt_sum_fours(&c, other, x, -1, 1, params->clamp, y, size);
        whole = size;
    }
    kt_sub_from(params, x, other, y, whole);
}

#endif
