/* kt_gradient_sum_s8 for the DSP extension: four elements at once, products of halves. */
#include "../gradient_sum.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

/* Sums have at most 22 bits. */
enum { LARGEST_SHIFT = 24 };

void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    const int32_t shift = params->shift;
    const int32_t m = params->multiplier[0], n = params->multiplier[1];
    const int32_t whole = shift >= 1 && shift <= LARGEST_SHIFT ? params->size & ~3 : 0;
    const int32_t half = (int32_t)(UINT32_C(1) << ((shift - 1) & 31));
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(g + i), v = kt_load_word(other + i);
        const int32_t u02 = (int32_t)kt_even(u), u13 = (int32_t)kt_odd(u);
        const int32_t v02 = (int32_t)kt_even(v), v13 = (int32_t)kt_odd(v);
        const int32_t y0 = __ssat(__smlabb(v02, n, __smlabb(u02, m, half)) >> shift, 8);
        const int32_t y1 = __ssat(__smlabb(v13, n, __smlabb(u13, m, half)) >> shift, 8);
        const int32_t y2 = __ssat(__smlatb(v02, n, __smlatb(u02, m, half)) >> shift, 8);
        const int32_t y3 = __ssat(__smlatb(v13, n, __smlatb(u13, m, half)) >> shift, 8);
        kt_store_word(result + i, kt_symmetric(kt_bytes(y0, y1, y2, y3)));
    }
    kt_gradient_sum_from(params, g, other, result, whole);
}

#endif
