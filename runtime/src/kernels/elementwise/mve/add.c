/* kt_add_s8 on cores with Helium: four elements at a time. The formula and its rounding are those of ../add.c. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/lanes.h"

/* Four elements, every shift in [-31, 0]. */
static inline int32x4_t sum_right(const kt_add_params *p, int32x4_t x, int32x4_t other)
{
    x = vshlq_n_s32(vaddq_n_s32(x, p->input_offset[0]), 20);
    x = kt_requantize_lanes_right(x, p->multiplier[0], p->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, p->input_offset[1]), 20);
    other = kt_requantize_lanes_right(other, p->multiplier[1], p->shift[1]);
    return kt_requantize_lanes_right(vaddq_s32(x, other), p->multiplier[2], p->shift[2]);
}

/* Four elements, any shift. */
static int32x4_t sum_any(const kt_add_params *p, int32x4_t x, int32x4_t other)
{
    x = vshlq_n_s32(vaddq_n_s32(x, p->input_offset[0]), 20);
    x = kt_requantize_lanes_by(x, p->multiplier[0], p->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, p->input_offset[1]), 20);
    other = kt_requantize_lanes_by(other, p->multiplier[1], p->shift[1]);
    return kt_requantize_lanes_by(vaddq_s32(x, other), p->multiplier[2], p->shift[2]);
}

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_add_params p = *params;
    const kt_lanes_clamp limits = kt_lanes_clamp_of(p.output_offset, p.clamp);
    int32_t left = p.size;
    if (kt_goes_right(p.shift[0]) && kt_goes_right(p.shift[1]) && kt_goes_right(p.shift[2])) {
        for (; left >= 4; left -= 4, x += 4, other += 4, y += 4) {
            vstrbq_s32(y, kt_clamp_lanes(sum_right(&p, vldrbq_s32(x), vldrbq_s32(other)), limits));
        }
    }
    for (; left > 0; left -= 4, x += 4, other += 4, y += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t sum = sum_any(&p, vldrbq_z_s32(x, rest), vldrbq_z_s32(other, rest));
        vstrbq_p_s32(y, kt_clamp_lanes(sum, limits), rest);
    }
}
#endif
