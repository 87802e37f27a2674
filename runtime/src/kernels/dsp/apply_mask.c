/* kt_apply_mask_s8 for the DSP extension: a byte of bits for two words of gradients.
 *
 * A product spreads four bits to the highest bits of four bytes (and beside them); adding 0x80 to a byte then carries where
 * its bit is set, which SEL reads. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE

#include "simd.h"

static uint32_t selected(uint32_t bits, uint32_t g)
{
    const uint32_t spread = bits * UINT32_C(0x10204080);
    (void)__uadd8(spread, UINT32_C(0x80808080));
    return __sel(g, 0);
}

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = params->size & ~7;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        const uint32_t bits = *mask++;
        kt_store_word(result + i, selected(bits & 15, kt_load_word(g + i)));
        kt_store_word(result + i + 4, selected(bits >> 4, kt_load_word(g + i + 4)));
    }
    kt_apply_mask_from(params->size, g, mask - (whole >> 3), result, whole);
}

#endif
