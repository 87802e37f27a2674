/* Gradients that stop where a forward result of int16 was clamped. */
#include "mask.h"

void kt_save_mask_s16(const kt_mask_params *params, const int16_t *y, uint8_t *mask)
{
    const kt_mask_params p = *params;
    uint32_t bits = 0;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        bits |= kt_passes(p, y[i]) ? UINT32_C(1) << (i & 7) : 0;
        if ((i & 7) == 7 || i + 1 == p.size) {
            mask[i >> 3] = (uint8_t)bits;
            bits = 0;
        }
    }
}

void kt_mask_gradient_s16(const kt_mask_params *params, const int8_t *g, const int16_t *y, int8_t *result)
{
    const kt_mask_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        result[i] = kt_passes(p, y[i]) ? g[i] : 0;
    }
}
