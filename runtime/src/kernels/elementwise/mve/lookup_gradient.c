/* kt_lookup_gradient_s8 on cores with Helium: four slopes gathered at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/gradient_lanes.h"

void kt_lookup_gradient_s8(const kt_lookup_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *result)
{
    const int8_t *const slopes = params->slopes;
    const int32_t shift = params->shift;
    int32_t left;
    for (left = params->size; left > 0; left -= 4, g += 4, x += 4, result += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const uint32x4_t at = vreinterpretq_u32_s32(vaddq_n_s32(vldrbq_z_s32(x, rest), 128));
        const int32x4_t product = vmulq_s32(vldrbq_z_s32(g, rest), vldrbq_gather_offset_z_s32(slopes, at, rest));
        vstrbq_p_s32(result, kt_saturate_lanes(kt_shift_round_lanes(product, shift)), rest);
    }
}
#endif
