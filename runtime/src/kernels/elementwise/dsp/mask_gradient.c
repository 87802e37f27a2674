/* kt_mask_gradient_s8 for the DSP extension: four elements at once. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE

#include "mask.h"

void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    const kt_range range = kt_range_of(params);
    const int32_t whole = kt_is_range(params) ? params->size & ~7 : 0;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        kt_store_word(result + i, kt_select(range, kt_load_word(y + i), kt_load_word(g + i)));
        kt_store_word(result + i + 4, kt_select(range, kt_load_word(y + i + 4), kt_load_word(g + i + 4)));
    }
    kt_mask_gradient_from(*params, g, y, result, whole);
}

#endif
