/* streamed.h: an SGD step whose gradient is computed again whenever it is read, so that no buffer holds it.
 *
 * For one sample and one position the gradient of weights is an outer product, gradient[r, k] = (float)(g[r] (x[k] +
 * input_offset)) * scale, and that of a bias is g itself: reading it costs less than keeping it. The arithmetic is that
 * of kt_weight_gradient or kt_bias_gradient, kt_sgd and the storage step, in the same order. */
#ifndef KT_OPTIM_STREAMED_H
#define KT_OPTIM_STREAMED_H

#include <stddef.h>

#include "largest_code.h"
#include "gradient.h"
#include "kt/architecture.h"
#include "kt/optim.h"
#include "storage_step.h"

/* What saves time and takes code is left out of a build for size: masters in larger units or after decay, whose moves float32 takes then (moves.h), and
 * passing over values without a step there (streamed.c). */
#ifdef KT_SMALL
enum { KT_FOR_SPEED = 0 };
#else
enum { KT_FOR_SPEED = 1 };
#endif

/* x: NULL for a bias, which has one column. sparse: whether a product of 0 is a step of 0, as no factor is infinite or no number: after a ReLU most
 * products are, and are passed over. */
typedef struct {
    const int8_t *g;
    const int8_t *x;
    int32_t offset;
    kt_float_factor scale;
    kt_float_factor factor;
    kt_float_factor rate;
    int sparse;
} kt_streamed;

/* g[row] * (x[column] + offset) */
static inline int32_t kt_streamed_product(const kt_streamed *s, int32_t row, int32_t column)
{
    return s->x == NULL ? s->g[row] : s->g[row] * (s->x[column] + s->offset);
}

static inline float kt_streamed_sum(const kt_streamed *s, int32_t row, int32_t column)
{
    return kt_add_scaled_sum(0.0f, kt_streamed_product(s, row, column), &s->scale);
}

/* Up to these rows and columns no sum of squares leaves 32 bits, and up to so many elements in all the roundings of their sum, 2^-24 each, are
 * small. */
enum { KT_SURE_SIZE = 1 << 15, KT_SURE_ELEMENTS = 1 << 20 };

/* What the optimizer would leave in an accumulator. */
static __attribute__((noinline, unused)) float kt_streamed_step(const kt_streamed *s, int32_t row, int32_t column)
{
    return kt_times(kt_gradient_by(kt_streamed_sum(s, row, column), &s->factor), &s->rate);
}

#if KT_VECTOR
#include "vector/streamed_squares.h"
#elif KT_SOFT_FLOAT
#include "soft_squares.h"
#else
/* total + the squares of a row's elements from a column on, in order. */
static inline float kt_add_squares_one_by_one(const kt_streamed_params *params, const kt_streamed *s, int32_t row, int32_t column, float total)
{
    const float scale = s->scale.value, factor = s->factor.value;
    const int8_t *x = s->x + column, *const end = s->x + params->columns;
    const int32_t g = s->g[row], offset = s->offset;
    for (; x < end; x++) {
        const int32_t input = *x + offset;
        if (input != 0 || !s->sparse) {
            const float gradient = (float)(g * input) * scale * factor; /* but for the sign of 0, which its square has not */
            total = total + gradient * gradient;
        }
    }
    return total;
}

#if KT_MVE
#include "mve/row_of_squares.h"
#elif KT_DSP
#include "dsp/row_of_squares.h"
#else
static inline float kt_add_row_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    return kt_add_squares_one_by_one(params, s, row, 0, total);
}
#endif

/* The squares of the gradient's elements, summed in order. */
static inline float kt_streamed_squares(const kt_streamed_params *params, const kt_streamed *s)
{
    float total = 0.0f;
    int32_t row;
    for (row = 0; row < params->rows; row++) {
        if (s->g[row] != 0 || !s->sparse) {
            total = kt_add_row_of_squares(params, s, row, total);
        }
    }
    return total;
}
#endif

/* Whether a norm is certainly below `clip`, so that nothing needs to add it up: the exact sum of squares is that of g's times that of x's, and what
 * float32 adds up in order differs by less than a fourth. */
static inline int kt_is_surely_shorter(const kt_streamed_params *params, const kt_streamed *s, float clip)
{
    const float unit = s->scale.value * s->factor.value;
    uint32_t rows = 0, columns = 0;
    int32_t i;
    if (params->rows > KT_SURE_SIZE || params->columns > KT_SURE_SIZE || params->rows * params->columns > KT_SURE_ELEMENTS) {
        return 0;
    }
    for (i = 0; i < params->rows; i++) {
        rows += (uint32_t)(s->g[i] * s->g[i]);
    }
    for (i = 0; i < params->columns; i++) {
        const int32_t value = s->x[i] + s->offset;
        columns += (uint32_t)(value * value);
    }
    return 1.25f * ((float)rows * unit) * ((float)columns * unit) < clip * clip;
}

/* What is long where float32 is worked out in integers is there once. */
#if KT_SOFT_FLOAT
#define KT_STREAMED_ONCE static __attribute__((noinline, unused))
#else
#define KT_STREAMED_ONCE static inline
#endif

/* A step of a gradient that is not clipped yet. */
KT_STREAMED_ONCE kt_streamed kt_streamed_of(const kt_streamed_params *params, const int8_t *g, const int8_t *x, int32_t exponent, int32_t count,
                                            float rate)
{
    kt_streamed s;
    s.g = g;
    s.x = x;
    s.offset = params->input_offset;
    s.scale = kt_factor_of(params->scale * kt_power_of_two(kt_clamp(exponent, -126, 127)));
    s.factor = kt_factor_of(1.0f / (float)count);
    s.rate = kt_factor_of(rate);
    s.sparse = kt_is_finite(s.scale.value) && kt_is_finite(s.factor.value) && kt_is_finite(rate);
    return s;
}

/* Clips it by its norm. */
static inline void kt_clip_streamed(const kt_streamed_params *params, kt_streamed *s, float squares)
{
    s->factor = kt_factor_of(kt_clipped_factor(s->factor.value, kt_norm_of(squares), params->clip));
}

/* That of weights, clipped. */
static inline kt_streamed kt_streamed_weights_of(const kt_streamed_params *params, const int8_t *g, const int8_t *x, int32_t exponent, int32_t count,
                                                 float rate)
{
    kt_streamed s = kt_streamed_of(params, g, x, exponent, count, rate);
    if (params->clip > 0.0f && !kt_is_surely_shorter(params, &s, params->clip)) {
        kt_clip_streamed(params, &s, kt_streamed_squares(params, &s));
    }
    return s;
}

/* SGD on a bias from the int8 gradient itself: kt_bias_gradient of one position, kt_sgd and kt_step_int32 in one. */
static inline void kt_stream_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                                  const int32_t *count, const float *learning_rate)
{
    kt_streamed s = kt_streamed_of(params, g, NULL, *exponent, *count, *learning_rate);
    const float lost = kt_decay_lost(params->decay, learning_rate);
    float squares = 0.0f;
    int32_t i;
    for (i = 0; i < params->rows && params->clip > 0.0f; i++) {
        const float gradient = kt_streamed_sum(&s, i, 0);
        squares = kt_add_squares(squares, &gradient, 1, s.factor.value);
    }
    if (params->clip > 0.0f) {
        kt_clip_streamed(params, &s, squares);
    }
    for (i = 0; i < params->rows; i++) {
        if (KT_SOFT_FLOAT && g[i] == 0 && s.sparse && lost == 0.0f) { /* no step and no decay: it is limited alone */
            value[i] = kt_clamp(value[i], -(INT32_C(1) << 30), INT32_C(1) << 30);
        } else {
            value[i] = kt_int32_moved(value[i], kt_streamed_step(&s, i, 0), params->unit[i], lost);
        }
    }
}

#endif
