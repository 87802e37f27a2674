/* kt_gradient_sum_s8 on cores with Helium: four elements at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "../../mve/gradient_lanes.h"

void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    const int32_t m = params->multiplier[0], n = params->multiplier[1], shift = params->shift;
    int32_t left;
    for (left = params->size; left > 0; left -= 4, g += 4, other += 4, result += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)left);
        const int32x4_t sum = vmlaq_n_s32(vmulq_n_s32(vldrbq_z_s32(g, rest), m), vldrbq_z_s32(other, rest), n);
        vstrbq_p_s32(result, kt_saturate_lanes(kt_shift_round_lanes(sum, shift)), rest);
    }
}
#endif
