/* kt_save_mask_s8 on cores with Helium: the predicate of a comparison of 16 values is their 16 bits. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_MVE
#include <arm_mve.h>

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t whole = params->size & ~15;
    const int8x16_t low = vdupq_n_s8((int8_t)params->low);
    const int8x16_t high = vdupq_n_s8((int8_t)params->high);
    int32_t i;
    for (i = 0; i < whole; i += 16) {
        const int8x16_t values = vldrbq_s8(y + i);
        const mve_pred16_t bits = vcmpgtq_m_s8(values, low, vcmpltq_s8(values, high));
        *mask++ = (uint8_t)bits;
        *mask++ = (uint8_t)(bits >> 8);
    }
    kt_save_mask_from(*params, y, mask - (whole >> 3), whole);
}

#endif
