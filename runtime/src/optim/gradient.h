/* gradient.h: from an accumulator to the clipped mean gradient, the same for every optimizer.
 *
 *     g = limited(accumulator * factor),  factor = 1 / count * min(1, clip / |accumulator / count|)
 *
 * One norm a tensor, summed in order. limited() keeps what an optimizer remembers finite: +-1e18 for anything larger,
 * 0 for NaN. The clip is the most valuable setting of integer training.
 * Source: Pascanu et al., "On the Difficulty of Training Recurrent Neural Networks" (2013). */
#ifndef KT_OPTIM_GRADIENT_H
#define KT_OPTIM_GRADIENT_H

#include "../product/soft_float.h"
#include "kt/architecture.h"
#include "kt/numerics.h"
#if KT_FLOAT_FOURS
#include "dsp/float_fours.h"
#endif

/* Larger sums of squares count as this, so that the norm is finite. */
#define KT_LARGEST_SQUARES 3.0e38f

/* Largest magnitude of an element of a gradient. */
#define KT_LARGEST_GRADIENT 1.0e18f

static inline float kt_norm_of(float squares)
{
    return kt_sqrt(squares > KT_LARGEST_SQUARES ? KT_LARGEST_SQUARES : squares);
}

#if KT_SOFT_FLOAT
/* kt_add_squares in integers, as far as elements are usual: the total so far; returns how many they are. */
static int32_t kt_add_usual_squares(float *total, const float *accumulator, int32_t size, float factor)
{
    const uint32_t bits = kt_float_bits(*total);
    const int whole = kt_float_bits(factor) == kt_float_bits(1.0f);
    const kt_float_factor by = kt_factor_of(factor);
    kt_positive_sum sum = {kt_significand(bits), kt_exponent_field(bits)};
    int32_t i;
    if (bits == 0) {
        sum.significand = 0;
    } else if (sum.exponent == 0) {
        return 0;
    }
    for (i = 0; i < size && sum.exponent < KT_USUAL_EXPONENTS; i++) {
        kt_positive_sum square;
        if (!kt_usual_square(whole ? accumulator[i] : kt_times(accumulator[i], &by), &square)) {
            break;
        }
        if (square.significand != 0) {
            sum = kt_add_positive(sum, square);
        }
    }
    *total = kt_float_of_sum(sum);
    return i;
}
#endif

/* total + (accumulator * factor)^2 of elements in their order; total: at least 0. */
static inline float kt_add_squares(float total, const float *accumulator, int32_t size, float factor)
{
#if KT_FLOAT_FOURS
    kt_float_fours fours = {(float *)accumulator, size, factor, total};
    kt_add_squares_of_fours(&fours);
    return fours.by;
#else
    int32_t i = 0;
#if KT_SOFT_FLOAT
    i = kt_add_usual_squares(&total, accumulator, size, factor);
#endif
    for (; i < size; i++) {
        const float g = accumulator[i] * factor;
        const float square = g * g;
        total = total + square;
    }
    return total;
#endif
}

/* factor, reduced where the norm `length` exceeds clip. */
static inline float kt_clipped_factor(float factor, float length, float clip)
{
    if (length > clip) {
        const float reduction = clip / length;
        factor = factor * reduction;
    }
    return factor;
}

/* count: samples accumulated, > 0; clip: largest norm, 0 for no clipping. *within: whether no element of the gradient needs a limit, as its norm is
 * below. */
static inline float kt_gradient_factor_within(const float *accumulator, int32_t size, int32_t count, float clip, int *within)
{
    const float factor = 1.0f / (float)count;
    float squares;
    *within = 0;
    if (!(clip > 0.0f)) {
        return factor;
    }
    squares = kt_add_squares(0.0f, accumulator, size, factor);
    *within = squares < 0.5f * KT_LARGEST_GRADIENT * KT_LARGEST_GRADIENT; /* which no number is that is none */
    return kt_clipped_factor(factor, kt_norm_of(squares), clip);
}

static inline float kt_gradient_factor(const float *accumulator, int32_t size, int32_t count, float clip)
{
    int within;
    return kt_gradient_factor_within(accumulator, size, count, clip, &within);
}

/* accumulated * factor, limited */
static inline float kt_gradient_by(float accumulated, const kt_float_factor *factor)
{
    const float g = kt_times(accumulated, factor);
    const uint32_t bits = kt_float_bits(g), magnitude = bits & UINT32_C(0x7FFFFFFF);
    if (magnitude <= kt_float_bits(KT_LARGEST_GRADIENT)) {
        return g;
    }
    if (magnitude > UINT32_C(0x7F800000)) {
        return 0.0f;
    }
    return kt_float_of_bits(kt_float_bits(KT_LARGEST_GRADIENT) | (bits ^ magnitude));
}

static inline float kt_gradient(float accumulated, float factor)
{
    const kt_float_factor by = kt_factor_of(factor);
    return kt_gradient_by(accumulated, &by);
}

#endif
