/* kt_save_mask_s8 for the DSP extension: two words of results to a byte of bits. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE

#include "mask.h"

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const kt_range range = kt_range_of(params);
    const int32_t whole = kt_is_range(params) ? params->size & ~7 : 0;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        const uint32_t low = kt_select(range, kt_load_word(y + i), UINT32_C(0x08040201));
        const uint32_t high = kt_select(range, kt_load_word(y + i + 4), UINT32_C(0x80402010));
        mask[i >> 3] = (uint8_t)__usad8(low | high, 0); /* sum of the bytes */
    }
    kt_save_mask_from(*params, y, mask, whole);
}

#endif
