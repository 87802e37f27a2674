/* kt_mul_s8 on cores with Helium: four elements at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/lanes.h"

static inline int32x4_t product_of(const kt_mul_params *p, int32x4_t x, int32x4_t other)
{
    return vmulq_s32(vaddq_n_s32(x, p->input_offset[0]), vaddq_n_s32(other, p->input_offset[1]));
}

void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_mul_params p = *params;
    const kt_lanes_clamp limits = kt_lanes_clamp_of(p.output_offset, p.clamp);
    int32_t left = p.size;
    if (kt_goes_right(p.shift)) {
        for (; left >= 4; left -= 4, x += 4, other += 4, y += 4) {
            const int32x4_t product = product_of(&p, vldrbq_s32(x), vldrbq_s32(other));
            vstrbq_s32(y, kt_clamp_lanes(kt_requantize_lanes_right(product, p.multiplier, p.shift), limits));
        }
    }
    for (; left > 0; left -= 4, x += 4, other += 4, y += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t product = product_of(&p, vldrbq_z_s32(x, rest), vldrbq_z_s32(other, rest));
        const int32x4_t scaled = kt_requantize_lanes_by(product, p.multiplier, p.shift);
        vstrbq_p_s32(y, kt_clamp_lanes(scaled, limits), rest);
    }
}
#endif
