/* streamed.h: an SGD step whose gradient is computed again whenever it is read, so that no buffer holds it.
 *
 * For one sample and one position the gradient of weights is an outer product, gradient[r, k] = (float)(g[r] (x[k] +
 * input_offset)) * scale, and that of a bias is g itself: reading it costs less than keeping it. The arithmetic is that
 * of kt_weight_gradient or kt_bias_gradient, kt_sgd and the storage step, in the same order. */
#ifndef KT_OPTIM_STREAMED_H
#define KT_OPTIM_STREAMED_H

#include <stddef.h>

#include "bounds.h"
#include "gradient.h"
#include "kt/architecture.h"
#include "kt/optim.h"
#include "storage_step.h"

/* x: NULL for a bias, which has one column. */
typedef struct {
    const int8_t *g;
    const int8_t *x;
    int32_t offset;
    kt_float_factor scale;
    kt_float_factor factor;
    kt_float_factor rate;
} kt_streamed;

static inline float kt_streamed_sum(const kt_streamed *s, int32_t row, int32_t column)
{
    const int32_t sum = s->x == NULL ? s->g[row] : s->g[row] * (s->x[column] + s->offset);
    return kt_add_scaled_sum(0.0f, sum, &s->scale);
}

/* What the optimizer would leave in an accumulator. */
static __attribute__((noinline, unused)) float kt_streamed_step(const kt_streamed *s, int32_t row, int32_t column)
{
    return kt_times(kt_gradient_by(kt_streamed_sum(s, row, column), &s->factor), &s->rate);
}

/* Elements of a row at a time that stand somewhere after all. */
enum { KT_STREAMED_PART = 16 };

#if KT_VECTOR
#include "vector/streamed_squares.h"
#else
/* The squares of the gradient's elements, summed in order. */
static inline float kt_streamed_squares(const kt_streamed_params *params, const kt_streamed *s)
{
    float total = 0.0f;
    int32_t row, column;
    for (row = 0; row < params->rows; row++) {
#if KT_SOFT_FLOAT
        for (column = 0; column < params->columns; column += KT_STREAMED_PART) {
            const int32_t length = kt_minimum(params->columns - column, KT_STREAMED_PART);
            float gradients[KT_STREAMED_PART];
            int32_t i;
            for (i = 0; i < length; i++) {
                gradients[i] = kt_streamed_sum(s, row, column + i);
            }
            total = kt_add_squares(total, gradients, length, s->factor.value);
        }
#else
        for (column = 0; column < params->columns; column++) {
            const float gradient = kt_streamed_sum(s, row, column) * s->factor.value;
            total = total + gradient * gradient;
        }
#endif
    }
    return total;
}
#endif

/* Row and column of the gradient's element of the largest magnitude. */
typedef struct {
    int32_t row, column;
} kt_streamed_place;

static inline kt_streamed_place kt_largest_product(const kt_streamed_params *params, const kt_streamed *s)
{
    kt_streamed_place place = {kt_place_of_code(s->g, kt_largest_code(s->g, params->rows)), 0};
    int32_t largest = 0, i;
    for (i = 0; i < params->columns; i++) {
        const int32_t value = s->x[i] + s->offset, magnitude = value < 0 ? -value : value;
        if (magnitude > largest) {
            largest = magnitude;
            place.column = i;
        }
    }
    return place;
}

/* The magnitude of moved value i. */
static __attribute__((noinline, unused)) float kt_streamed_magnitude(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value,
                                                                     const int8_t *remainder, float unit, float kept, int32_t i)
{
    const float step = kt_streamed_step(s, i / params->columns, i % params->columns);
    return kt_absolute(kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, step));
}

/* Whether bounds tell the exponent: no magnitude exceeds the largest code's and the largest step's together, as rounding is monotone, and the two
 * elements that have those say what the largest is at least. */
static inline int kt_streamed_exponent(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value, const int8_t *remainder,
                                       float unit, float kept, int32_t *exponent, float *factor)
{
    const kt_streamed_place place = kt_largest_product(params, s);
    const int32_t code = kt_largest_code(value, params->rows * params->columns);
    const float step = kt_absolute(kt_streamed_step(s, place.row, place.column));
    const float most = kt_block_moved(kt_most_of_masters(code), unit, kept, -step);
    const float at_code = kt_streamed_magnitude(params, s, value, remainder, unit, kept, kt_place_of_code(value, code));
    const float at_step = kt_streamed_magnitude(params, s, value, remainder, unit, kept, place.row * params->columns + place.column);
    return kept >= 0.0f && step >= 0.0f && kt_exponent_between(kt_larger_magnitude(at_code, at_step), most, exponent, factor);
}

static inline kt_streamed kt_streamed_of(const kt_streamed_params *params, const int8_t *g, const int8_t *x,
                                         int32_t exponent, int32_t count, float rate)
{
    kt_streamed s;
    s.g = g;
    s.x = x;
    s.offset = params->input_offset;
    s.scale = kt_factor_of(params->scale * kt_power_of_two(kt_clamp(exponent, -126, 127)));
    s.factor = kt_factor_of(1.0f / (float)count);
    s.rate = kt_factor_of(rate);
    if (params->clip > 0.0f) {
        s.factor = kt_factor_of(kt_clipped_factor(s.factor.value, kt_norm_of(kt_streamed_squares(params, &s)), params->clip));
    }
    return s;
}

/* SGD on a bias from the int8 gradient itself: kt_bias_gradient of one position, kt_sgd and kt_step_int32 in one. */
static inline void kt_stream_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                                  const int32_t *count, const float *learning_rate)
{
    const kt_streamed s = kt_streamed_of(params, g, NULL, *exponent, *count, *learning_rate);
    const float lost = kt_decay_lost(params->decay, learning_rate);
    int32_t i;
    for (i = 0; i < params->rows; i++) {
        value[i] = kt_int32_moved(value[i], kt_streamed_step(&s, i, 0), params->unit[i], lost);
    }
}

#endif
