/* mask.h: elements whose gradient stops, one by one: those whose forward result was clamped. */
#ifndef KT_MASK_H
#define KT_MASK_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int kt_passes(kt_mask_params params, int32_t y)
{
    return y > params.low && y < params.high;
}

/* kt_save_mask_s8 from element `first` on, a multiple of 8. */
static inline void kt_save_mask_from(kt_mask_params params, const int8_t *y, uint8_t *mask, int32_t first)
{
    int32_t start, i;
    for (start = first; start < params.size; start += 8) {
        const int32_t count = kt_minimum(params.size - start, 8);
        uint32_t bits = 0;
        for (i = 0; i < count; i++) {
            bits |= kt_passes(params, y[start + i]) ? UINT32_C(1) << i : 0;
        }
        mask[start >> 3] = (uint8_t)bits;
    }
}

/* kt_apply_mask_s8 from element `first` on, a multiple of 8. */
static inline void kt_apply_mask_from(int32_t size, const int8_t *g, const uint8_t *mask, int8_t *result, int32_t first)
{
    uint32_t bits = 0;
    int32_t i;
    for (i = first; i < size; i++) {
        bits = (i & 7) == 0 ? mask[i >> 3] : bits >> 1;
        result[i] = (bits & 1) ? g[i] : 0;
    }
}

/* kt_mask_gradient_s8 from element `first` on. */
static inline void kt_mask_gradient_from(kt_mask_params params, const int8_t *g, const int8_t *y, int8_t *result,
                                         int32_t first)
{
    int32_t i;
    for (i = first; i < params.size; i++) {
        result[i] = kt_passes(params, y[i]) ? g[i] : 0;
    }
}

#endif
