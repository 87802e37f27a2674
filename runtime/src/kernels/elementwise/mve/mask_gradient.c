/* kt_mask_gradient_s8 on cores with Helium: 16 elements at once. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_MVE
#include <arm_mve.h>

void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    const int32_t whole = params->size & ~15;
    const int8x16_t low = vdupq_n_s8((int8_t)params->low);
    const int8x16_t high = vdupq_n_s8((int8_t)params->high);
    int32_t i;
    for (i = 0; i < whole; i += 16) {
        const int8x16_t values = vldrbq_s8(y + i);
        const mve_pred16_t passes = vcmpgtq_m_s8(values, low, vcmpltq_s8(values, high));
        vstrbq_s8(result + i, vldrbq_z_s8(g + i, passes));
    }
    kt_mask_gradient_from(*params, g, y, result, whole);
}

#endif
