/* kt_mean_s8 on cores with Helium: four values of the innermost axis at a time; where it has one, 16 values are added at once.
 * The formula and its rounding are those of ../mean.c. */
#include "kt/architecture.h"
#include "kt/kernels/pool.h"

#if KT_MVE
#include "../../mve/dot.h"
#include "../../mve/lanes.h"

static void mean_of_rows(const kt_mean_params *params, kt_lanes_clamp limits, const int8_t *x, int8_t *y)
{
    const int32_t count = params->extent[1];
    const int32_t inner = params->extent[2];
    const int32x4_t multiplier = vdupq_n_s32(params->multiplier);
    const int32x4_t shift = vdupq_n_s32(params->shift);
    int32_t i, n;
    for (i = 0; i < inner; i += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(inner - i));
        const int8_t *value = x + i;
        int32x4_t sum = vdupq_n_s32(params->input_offset * count);
        for (n = count; n > 0; n--, value += inner) {
            sum = vaddq_s32(sum, vldrbq_z_s32(value, rest));
        }
        vstrbq_p_s32(y + i, kt_clamp_lanes(kt_requantize_lanes(sum, multiplier, shift), limits), rest);
    }
}

void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y)
{
    static const int32_t whole[2] = {-128, 127};
    const int32_t count = params->extent[1];
    const int32_t inner = params->extent[2];
    const kt_lanes_clamp limits = kt_lanes_clamp_of(params->output_offset, whole);
    int32_t o;
    for (o = 0; o < params->extent[0]; o++) {
        if (inner == 1) {
            const int32_t sum = kt_sum_lanes(x, count) + params->input_offset * count;
            const int32_t scaled = kt_requantize(sum, params->multiplier, params->shift);
            *y = kt_clamp_with_offset(scaled, params->output_offset, -128, 127);
        } else {
            mean_of_rows(params, limits, x, y);
        }
        x += count * inner;
        y += inner;
    }
}
#endif
