/* step_lanes.h: the step of 16-bit values (../step_block16.c) in integers with Helium, four at a time, from steps in float32: units are those of
 * ../block16.h, or of a larger power of two where steps are large beside the values. */
#ifndef KT_OPTIM_MVE_STEP_LANES_H
#define KT_OPTIM_MVE_STEP_LANES_H

#include <arm_mve.h>

#include "../block16.h"

/* shift: KT_STEP_SHIFT and the exponent of units; scale: of a master times 2^15 */
typedef struct {
    const int8_t *value, *remainder;
    const float *steps;
    int32_t shift, scale;
} kt_step_lanes;

KT_INLINE int32x4_t kt_masters_of_lanes(const kt_step_lanes *s, int32_t i, mve_pred16_t lanes)
{
    return vaddq_s32(vldrbq_z_s32(s->remainder + i, lanes), vshlq_n_s32(vldrbq_z_s32(s->value + i, lanes), 8));
}

/* Masters less their steps, in units; steps: their bits. */
KT_INLINE int32x4_t kt_moved_lanes(const kt_step_lanes *s, int32x4_t masters, uint32x4_t steps)
{
    const int32x4_t field = vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32(steps, 23), vdupq_n_u32(255)));
    const int32x4_t left = vmaxq_s32(vsubq_s32(field, vdupq_n_s32(s->shift)), vdupq_n_s32(-32));
    const uint32x4_t magnitude = vshlq_u32(vorrq_u32(vshlq_n_u32(steps, 8), vdupq_n_u32(KT_HALF_WORD)), left);
    const int32x4_t sign = vshrq_n_s32(vreinterpretq_s32_u32(steps), 31);
    const int32x4_t held = vmulhq_s32(vshlq_n_s32(masters, KT_UNIT_BITS + 32 - KT_KEPT_BITS), vdupq_n_s32(s->scale));
    return vsubq_s32(held, vsubq_s32(veorq_s32(vreinterpretq_s32_u32(magnitude), sign), sign));
}

/* Bits of the largest magnitude of steps. */
static uint32_t kt_largest_step(const float *steps, int32_t count)
{
    uint32_t largest = 0;
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        largest = vmaxvq_p_u32(largest, vshlq_n_u32(vldrwq_z_u32((const uint32_t *)steps + i, lanes), 1), lanes);
    }
    return largest >> 1;
}

static uint32_t kt_largest_moved(const kt_step_lanes *s, int32_t count)
{
    uint32_t largest = 0;
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        const int32x4_t moved = kt_moved_lanes(s, kt_masters_of_lanes(s, i, lanes), vldrwq_z_u32((const uint32_t *)s->steps + i, lanes));
        largest = vmaxavq_p_s32(largest, moved, lanes);
    }
    return largest;
}

/* What becomes of these lanes' masters by float32, in place of those stored. */
static __attribute__((noinline)) int32x4_t kt_doubted_steps(int32x4_t masters, int32x4_t stored, const float *steps, mve_pred16_t lanes, float kept,
                                                            int32_t held, int32_t growth)
{
    int32_t old[4], moved[4], i;
    vstrwq_s32(old, masters);
    vstrwq_s32(moved, stored);
    for (i = 0; i < 4; i++) {
        if ((lanes >> (4 * i)) & 1) {
            moved[i] = kt_doubtful_master(old[i], kept, steps[i], held, growth);
        }
    }
    return vldrwq_s32(moved);
}

/* Returns whether it was done. */
static int kt_step_in_lanes(int8_t *value, int8_t *exponent, int8_t *remainder, float *accumulator, int32_t count, float kept)
{
    const int32_t held = *exponent - 8, largest_step = kt_exponent_field(kt_largest_step(accumulator, count));
    const int32_t coarser = kt_maximum(largest_step - KT_EXPONENT_BIAS - held - KT_LARGEST_STEP, 0);
    kt_step_lanes s = {value, remainder, accumulator, KT_STEP_SHIFT + held + coarser, 0};
    int32_t largest, growth, doubt, down, i;
    if (largest_step == 255 || coarser > KT_KEPT_BITS || !(kept >= 0.0f && kept <= 1.0f)) {
        return 0;
    }
    s.scale = kt_scale_of_masters(kept, coarser);
    largest = (int32_t)kt_largest_moved(&s, count);
    if (!kt_is_certain_between(kt_maximum(largest - KT_SCALED_DOUBT, 0), largest + KT_SCALED_DOUBT, held + coarser, &growth)) {
        return 0;
    }
    down = KT_UNIT_BITS + growth;
    doubt = kt_doubtful_units(largest + KT_SCALED_DOUBT) + KT_SCALED_DOUBT;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        const int32x4_t masters = kt_masters_of_lanes(&s, i, lanes);
        const int32x4_t moved = vaddq_n_s32(kt_moved_lanes(&s, masters, vldrwq_z_u32((const uint32_t *)accumulator + i, lanes)), (1 << (down - 1)) - doubt);
        int32x4_t stored = vshlq_r_s32(moved, -down);
        const mve_pred16_t doubtful = vcmpneq_m_s32(stored, vshlq_r_s32(vaddq_n_s32(moved, 2 * doubt), -down), lanes);
        if (doubtful != 0) {
            stored = kt_doubted_steps(masters, stored, accumulator + i, doubtful, kept, held, coarser + growth);
        }
        vstrbq_p_s32(remainder + i, stored, lanes);
        vstrbq_p_s32(value + i, vrshrq_n_s32(stored, 8), lanes);
    }
    kt_clear_words(accumulator, count);
    *exponent = (int8_t)(held + coarser + growth + 8);
    return 1;
}

#endif
