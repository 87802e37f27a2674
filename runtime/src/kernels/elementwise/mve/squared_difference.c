/* kt_squared_difference_s8 on cores with Helium: four elements at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/lanes.h"

static const int32_t whole_range[2] = {-128, 127};

/* Four elements, every shift in [-31, 0]. A square is not negative: ties are those of VRSHL. */
static inline int32x4_t square_right(const kt_squared_difference_params *p, int32x4_t x, int32x4_t other)
{
    x = vshlq_n_s32(vaddq_n_s32(x, p->input_offset[0]), 7);
    x = kt_requantize_lanes_right(x, p->multiplier[0], p->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, p->input_offset[1]), 7);
    other = kt_requantize_lanes_right(other, p->multiplier[1], p->shift[1]);
    x = vsubq_s32(x, other);
    return vrshlq_n_s32(vqrdmulhq_n_s32(vmulq_s32(x, x), p->multiplier[2]), p->shift[2]);
}

/* Four elements, any shift. */
static int32x4_t square_any(const kt_squared_difference_params *p, int32x4_t x, int32x4_t other)
{
    x = vshlq_n_s32(vaddq_n_s32(x, p->input_offset[0]), 7);
    x = kt_requantize_lanes_by(x, p->multiplier[0], p->shift[0]);
    other = vshlq_n_s32(vaddq_n_s32(other, p->input_offset[1]), 7);
    other = kt_requantize_lanes_by(other, p->multiplier[1], p->shift[1]);
    x = vsubq_s32(x, other);
    return kt_requantize_lanes_by(vmulq_s32(x, x), p->multiplier[2], p->shift[2]);
}

void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other,
                              int8_t *y)
{
    const kt_squared_difference_params p = *params;
    const kt_lanes_clamp limits = kt_lanes_clamp_of(p.output_offset, whole_range);
    int32_t left = p.size;
    if (kt_goes_right(p.shift[0]) && kt_goes_right(p.shift[1]) && kt_goes_right(p.shift[2])) {
        for (; left >= 4; left -= 4, x += 4, other += 4, y += 4) {
            vstrbq_s32(y, kt_clamp_lanes(square_right(&p, vldrbq_s32(x), vldrbq_s32(other)), limits));
        }
    }
    for (; left > 0; left -= 4, x += 4, other += 4, y += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t square = square_any(&p, vldrbq_z_s32(x, rest), vldrbq_z_s32(other, rest));
        vstrbq_p_s32(y, kt_clamp_lanes(square, limits), rest);
    }
}
#endif
