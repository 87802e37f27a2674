/* kt_prelu_s8 on cores with Helium: four elements at a time, factor, multiplier and shift by the sign of each. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/lanes.h"

static const int32_t whole_range[2] = {-128, 127};

void kt_prelu_s8(const kt_prelu_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_prelu_params p = *params;
    const kt_lanes_clamp limits = kt_lanes_clamp_of(p.output_offset, whole_range);
    const int32x4_t own_multiplier = vdupq_n_s32(p.multiplier[0]), own_shift = vdupq_n_s32(p.shift[0]);
    const int32x4_t multiplier = vdupq_n_s32(p.multiplier[1]), shift = vdupq_n_s32(p.shift[1]);
    int32_t left;
    for (left = p.size; left > 0; left -= 4, x += 4, other += 4, y += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t value = vaddq_n_s32(vldrbq_z_s32(x, rest), p.input_offset[0]);
        const int32x4_t slope = vaddq_n_s32(vldrbq_z_s32(other, rest), p.input_offset[1]);
        const mve_pred16_t negative = vcmpltq_n_s32(value, 0);
        const int32x4_t product = vmulq_m_s32(value, value, slope, negative);
        const int32x4_t scaled = kt_requantize_lanes(product, vpselq_s32(multiplier, own_multiplier, negative),
                                                     vpselq_s32(shift, own_shift, negative));
        vstrbq_p_s32(y, kt_clamp_lanes(scaled, limits), rest);
    }
}
#endif
