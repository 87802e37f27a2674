/* kt_apply_mask_s8 on cores with Helium: 16 bits are the predicate of a load, which gives 0 where they are. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_MVE
#include <arm_mve.h>

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = params->size & ~15;
    int32_t i;
    for (i = 0; i < whole; i += 16, mask += 2) {
        const mve_pred16_t bits = (mve_pred16_t)(mask[0] | (mask[1] << 8));
        vstrbq_s8(result + i, vldrbq_z_s8(g + i, bits));
    }
    kt_apply_mask_from(params->size, g, mask - (whole >> 3), result, whole);
}

#endif
