/* gradient.h: how a loss brings its float32 gradient to int8 with a power of two of its own. */
#ifndef KT_LOSS_GRADIENT_H
#define KT_LOSS_GRADIENT_H

#include "kt/loss.h"
#include "kt/numerics.h"

/* 2^-20: gradients below this share one exponent, and rounding them to zero is right. */
#define KT_LOSS_SMALLEST 9.5367431640625e-7f

/* The smallest exponent that is ever useful; never reached because of KT_LOSS_SMALLEST. */
enum { KT_LOSS_LOWEST_EXPONENT = -100 };

static inline float kt_loss_dequantize(int8_t y, int32_t zero_point, float scale)
{
    return (float)(y - zero_point) * scale;
}

/* Exponent of a gradient whose largest magnitude is `largest`. */
static inline int32_t kt_loss_exponent(float largest)
{
    return kt_exponent_for(kt_larger_magnitude(largest, KT_LOSS_SMALLEST), 127.0f, KT_LOSS_LOWEST_EXPONENT);
}

/* factor = 2^-exponent */
static inline int8_t kt_loss_code(float gradient, float factor)
{
    return kt_saturate8(kt_round_half_up(gradient * factor));
}

#endif
