/* row_of_squares.h: the squares of a row's gradient with Helium, four at a time, added one after the other. Its float32 takes subnormal numbers for 0, so
 * that it serves where there are none. */
#ifndef KT_OPTIM_MVE_ROW_OF_SQUARES_H
#define KT_OPTIM_MVE_ROW_OF_SQUARES_H

#include <arm_mve.h>

/* Whether no factor, element or square is subnormal, infinite or no number: the square of an element of a product of 1 is above 2^-126. */
static inline int kt_has_normal_squares(const kt_streamed *s)
{
    const float least = kt_absolute(s->scale.value * s->factor.value);
    const int32_t scale = kt_exponent_field(kt_float_bits(s->scale.value)), factor = kt_exponent_field(kt_float_bits(s->factor.value));
    return s->sparse && scale > 0 && scale < 255 - 16 && factor > 0 && kt_exponent_field(kt_float_bits(least)) > KT_EXPONENT_BIAS - 63;
}

/* total + the squares of a row's elements, in order. */
static inline float kt_add_lanes_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    const float32x4_t scale = vdupq_n_f32(s->scale.value), factor = vdupq_n_f32(s->factor.value);
    const int32_t columns = params->columns, g = s->g[row], offset = s->offset;
    int32_t column;
    for (column = 0; column < columns; column += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(columns - column));
        const int32x4_t products = vmulq_n_s32(vaddq_x_n_s32(vldrbq_z_s32(s->x + column, lanes), offset, lanes), g);
        const float32x4_t gradient = vmulq_f32(vmulq_f32(vcvtq_f32_s32(products), scale), factor);
        const float32x4_t squares = vmulq_f32(gradient, gradient);
        total = total + vgetq_lane_f32(squares, 0);
        total = total + vgetq_lane_f32(squares, 1);
        total = total + vgetq_lane_f32(squares, 2);
        total = total + vgetq_lane_f32(squares, 3);
    }
    return total;
}

#endif
