/* Gradients that stop where a forward result was clamped, on cores with Helium. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_MVE
#include <arm_mve.h>

/* The predicate of a comparison of 16 values is their 16 bits. */
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

/* 16 bits are the predicate of a load, which gives 0 where they are. */
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

/* 16 elements at once. */
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
