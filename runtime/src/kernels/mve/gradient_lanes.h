/* gradient_lanes.h: the roundings of gradients on lanes. */
#ifndef KT_GRADIENT_LANES_H
#define KT_GRADIENT_LANES_H

#include <arm_mve.h>

#include "kt/numerics.h"

/* kt_shift_round on lanes: VQRSHL shifts left where its count is positive, else right with ties up. */
static inline int32x4_t kt_shift_round_lanes(int32x4_t x, int32_t shift)
{
    return vqrshlq_n_s32(x, kt_clamp(-shift, -32, 31));
}

/* kt_saturate8 on lanes. */
static inline int32x4_t kt_saturate_lanes(int32x4_t x)
{
    return vminq_s32(vmaxq_s32(x, vdupq_n_s32(-127)), vdupq_n_s32(127));
}

#endif
