/* kt_elementwise_chain_s8 on cores with Helium: four channels at a time. */
#include "kt/architecture.h"
#include "../elementwise_chain.h"

#if KT_MVE
#include "../../mve/lanes.h"

static inline int32x4_t requantized(int32x4_t x, int32_t multiplier, int32_t shift)
{
    return kt_goes_right(shift) ? kt_requantize_lanes_right(x, multiplier, shift)
                                : kt_requantize_lanes_by(x, multiplier, shift);
}

static inline int32x4_t step_of(const kt_chain_step *s, int32x4_t x, int32x4_t constants)
{
    x = vaddq_n_s32(x, s->input_offset);
    if (s->adds) {
        x = vaddq_s32(requantized(vshlq_n_s32(x, 20), s->multiplier[0], s->shift[0]), constants);
        x = requantized(x, s->multiplier[1], s->shift[1]);
    } else {
        x = requantized(vmulq_s32(x, constants), s->multiplier[0], s->shift[0]);
    }
    return kt_clamp_lanes(x, kt_lanes_clamp_of(s->output_offset, s->clamp));
}

void kt_elementwise_chain_s8(const kt_elementwise_chain_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->count, channels = params->channels;
    kt_chain_step steps[KT_CHAIN_STEPS];
    int32_t row, c, i;
    kt_chain_steps(params, steps);
    for (row = 0; row < params->rows; row++, x += channels, y += channels) {
        for (c = 0; c < channels; c += 4) {
            const mve_pred16_t rest = vctp32q((uint32_t)(channels - c));
            int32x4_t value = vldrbq_z_s32(x + c, rest);
            for (i = 0; i < count; i++) {
                value = step_of(&steps[i], value, vldrwq_z_s32(steps[i].constants + c, rest));
            }
            vstrbq_p_s32(y + c, value, rest);
        }
    }
}
#endif
