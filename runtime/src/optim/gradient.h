/* gradient.h: from an accumulator to the clipped mean gradient, the same for every optimizer.
 *
 *     g = limited(accumulator * factor),  factor = 1 / count * min(1, clip / |accumulator / count|)
 *
 * One norm a tensor, summed in order. limited() keeps what an optimizer remembers finite: +-1e18 for anything larger,
 * 0 for NaN. The clip is the most valuable setting of integer training.
 * Source: Pascanu et al., "On the Difficulty of Training Recurrent Neural Networks" (2013). */
#ifndef KT_OPTIM_GRADIENT_H
#define KT_OPTIM_GRADIENT_H

#include "kt/numerics.h"

/* Larger sums of squares count as this, so that the norm is finite. */
#define KT_LARGEST_SQUARES 3.0e38f

/* Largest magnitude of an element of a gradient. */
#define KT_LARGEST_GRADIENT 1.0e18f

static inline float kt_norm_of(float squares)
{
    return kt_sqrt(squares > KT_LARGEST_SQUARES ? KT_LARGEST_SQUARES : squares);
}

static inline float kt_gradient_norm(const float *accumulator, int32_t size, float factor)
{
    float total = 0.0f;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float g = accumulator[i] * factor;
        const float square = g * g;
        total = total + square;
    }
    return kt_norm_of(total);
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

/* count: samples accumulated, > 0; clip: largest norm, 0 for no clipping. */
static inline float kt_gradient_factor(const float *accumulator, int32_t size, int32_t count, float clip)
{
    const float factor = 1.0f / (float)count;
    return clip > 0.0f ? kt_clipped_factor(factor, kt_gradient_norm(accumulator, size, factor), clip) : factor;
}

static inline float kt_gradient(float accumulated, float factor)
{
    const float g = accumulated * factor;
    const uint32_t magnitude = kt_float_bits(g) & UINT32_C(0x7FFFFFFF);
    if (magnitude <= kt_float_bits(KT_LARGEST_GRADIENT)) {
        return g;
    }
    if (magnitude > UINT32_C(0x7F800000)) {
        return 0.0f;
    }
    return g > 0.0f ? KT_LARGEST_GRADIENT : -KT_LARGEST_GRADIENT;
}

#endif
