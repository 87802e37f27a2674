/* sum.h: sums and differences of two tensors with Helium, four elements at a time. The formula and its rounding are those of ../add.c and
 * ../sub.c. */
#ifndef KT_MVE_SUM_H
#define KT_MVE_SUM_H

#include "../../mve/lanes.h"

/* Of both operands, and then of the result. */
typedef struct {
    int32_t offset[2];
    int32_t multiplier[3];
    int32_t shift[3];
} kt_sum_scales;

static inline int32x4_t kt_combined(int32x4_t x, int32x4_t other, int subtract)
{
    return subtract ? vsubq_s32(x, other) : vaddq_s32(x, other);
}

/* Four elements, every shift in [-31, 0]. */
static inline int32x4_t kt_sum_right(const kt_sum_scales *s, int32x4_t x, int32x4_t other, int subtract)
{
    x = vshlq_n_s32(vaddq_n_s32(x, s->offset[0]), 20);
    x = kt_requantize_lanes_right(x, s->multiplier[0], s->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, s->offset[1]), 20);
    other = kt_requantize_lanes_right(other, s->multiplier[1], s->shift[1]);
    return kt_requantize_lanes_right(kt_combined(x, other, subtract), s->multiplier[2], s->shift[2]);
}

/* Four elements, any shift. */
static inline int32x4_t kt_sum_any(const kt_sum_scales *s, int32x4_t x, int32x4_t other, int subtract)
{
    x = vshlq_n_s32(vaddq_n_s32(x, s->offset[0]), 20);
    x = kt_requantize_lanes_by(x, s->multiplier[0], s->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, s->offset[1]), 20);
    other = kt_requantize_lanes_by(other, s->multiplier[1], s->shift[1]);
    return kt_requantize_lanes_by(kt_combined(x, other, subtract), s->multiplier[2], s->shift[2]);
}

/* x + other, or x - other: a constant of the caller. */
static inline void kt_sum_lanes(const kt_sum_scales *scales, kt_lanes_clamp limits, int32_t left, const int8_t *x, const int8_t *other, int8_t *y,
                                int subtract)
{
    const kt_sum_scales s = *scales;
    if (kt_goes_right(s.shift[0]) && kt_goes_right(s.shift[1]) && kt_goes_right(s.shift[2])) {
        for (; left >= 4; left -= 4, x += 4, other += 4, y += 4) {
            vstrbq_s32(y, kt_clamp_lanes(kt_sum_right(&s, vldrbq_s32(x), vldrbq_s32(other), subtract), limits));
        }
    }
    for (; left > 0; left -= 4, x += 4, other += 4, y += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t sum = kt_sum_any(&s, vldrbq_z_s32(x, rest), vldrbq_z_s32(other, rest), subtract);
        vstrbq_p_s32(y, kt_clamp_lanes(sum, limits), rest);
    }
}

#endif
