/* streamed_exponent.h: the exponent of values in 16 bits after a streamed step, from bounds of them: then a pass over them is saved. Where bounds do not
 * tell, the pass is made after all. */
#ifndef KT_OPTIM_VECTOR_STREAMED_EXPONENT_H
#define KT_OPTIM_VECTOR_STREAMED_EXPONENT_H

#include <float.h>

#include "../streamed.h"

/* Where a master has the largest magnitude: one of the largest magnitude of codes has. */
static int32_t kt_place_of_master(const int8_t *value, const int8_t *remainder, int32_t count)
{
    int32_t place = 0, largest = -1, i = -1;
    int32_t least = 0; /* codes of [-least, bound - least) are smaller than one that was found */
    uint32_t bound = 0;
    while (++i < count) {
        const int32_t code = value[i];
        if ((uint32_t)(code + least) >= bound) {
            const int32_t magnitude = kt_magnitude_of_master(value[i], remainder[i]);
            if (magnitude > largest) {
                largest = magnitude;
                place = i;
            }
            if (code != 0) {
                least = (int32_t)kt_magnitude(code) - 1;
                bound = 2 * (uint32_t)least + 1;
            }
        }
    }
    return place;
}

/* The exponent of kt_fitting_exponent for moved values, where it is the same for `least`, the magnitude of one of them, and for `most`, which none
 * exceeds; *factor: 2^-exponent, which brings all within the limit. Returns 0 where it is not, and where the bounds are none, as of a state that was
 * never trained, whose exponent may be anything. */
static inline int kt_exponent_between(float least, float most, int32_t *exponent, float *factor)
{
    if (!(least > 0.0f && most >= least && most <= FLT_MAX)) {
        return 0;
    }
    *exponent = kt_fitting_exponent(most, (float)KT_MASTER_LIMIT);
    *factor = kt_power_of_two(-*exponent);
    return *exponent == kt_fitting_exponent(least, (float)KT_MASTER_LIMIT) && most * *factor <= (float)KT_MASTER_LIMIT;
}

/* Row and column of the gradient's element of the largest magnitude. */
typedef struct {
    int32_t row, column;
} kt_streamed_place;

static inline kt_streamed_place kt_largest_product(const kt_streamed_params *params, const kt_streamed *s)
{
    kt_streamed_place place = {kt_next_of_magnitude(s->g, 0, params->rows, kt_largest_code(s->g, params->rows)), 0};
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
static float kt_streamed_magnitude(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value, const int8_t *remainder, float unit,
                                   float kept, int32_t i)
{
    const float step = kt_streamed_step(s, i / params->columns, i % params->columns);
    return kt_absolute(kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, step));
}

/* Whether bounds tell the exponent: no magnitude exceeds the largest master's and the largest step's together, as rounding is monotone, and the two
 * elements that have those say what the largest is at least. */
static inline int kt_streamed_exponent(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value, const int8_t *remainder,
                                       float unit, float kept, int32_t *exponent, float *factor)
{
    const kt_streamed_place place = kt_largest_product(params, s);
    const int32_t held = kt_place_of_master(value, remainder, params->rows * params->columns);
    const float step = kt_absolute(kt_streamed_step(s, place.row, place.column));
    const float most = kt_block_moved(kt_magnitude_of_master(value[held], remainder[held]), unit, kept, -step);
    const float at_code = kt_streamed_magnitude(params, s, value, remainder, unit, kept, held);
    const float at_step = kt_streamed_magnitude(params, s, value, remainder, unit, kept, place.row * params->columns + place.column);
    return kept >= 0.0f && step >= 0.0f && kt_exponent_between(kt_larger_magnitude(at_code, at_step), most, exponent, factor);
}

#endif
