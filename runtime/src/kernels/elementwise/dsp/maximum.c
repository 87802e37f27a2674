/* kt_maximum_s8 for the DSP extension: SSUB8 sets a flag for each byte, by which SEL takes the larger one. */
#include "../maximum.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

void kt_maximum_s8(const kt_maximum_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t whole = params->size & ~3;
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(x + i), v = kt_load_word(other + i);
        (void)__ssub8((int8x4_t)u, (int8x4_t)v);
        kt_store_word(y + i, __sel(u, v));
    }
    kt_maximum_from(params, x, other, y, whole);
}

#endif
