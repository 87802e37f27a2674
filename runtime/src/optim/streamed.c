/* SGD from the factors of a gradient, which stands nowhere. */
#include "streamed.h"
#include "block16.h"
#include "kt/architecture.h"
#include "storage_step.h"

#if !KT_VECTOR

void kt_streamed_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                      const int32_t *count, const float *learning_rate)
{
    kt_stream_bias(params, g, exponent, value, count, learning_rate);
}

/* The largest magnitude of a moved value: that of those without a step is their largest master's. */
static __attribute__((noinline)) float largest_moved(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value,
                                                     const int8_t *remainder, float unit, float kept)
{
    float largest = 0.0f;
    int32_t row, column, i = 0, held = 0;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++, i++) {
            if (s->sparse && kt_streamed_product(s, row, column) == 0) {
                held = kt_maximum(held, kt_magnitude_of_master(value[i], remainder[i]));
            } else {
                const float moved = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, kt_streamed_step(s, row, column));
                largest = kt_larger_magnitude(largest, kt_absolute(moved));
            }
        }
    }
    return kt_larger_magnitude(largest, kt_absolute(kt_block_moved(held, unit, kept, 0.0f)));
}

#if KT_SOFT_FLOAT
/* Steps in units of 2^-12 of a master's, from a product without float32: |product| * factor / 2^shift, within doubt_of it. */
typedef struct {
    uint32_t factor; /* 16 bits, the first set, or the next power of two */
    int32_t shift;
    int32_t sign; /* of a positive product's: 0 or -1 */
} streamed_units;

/* held: the exponent of masters; product: the largest magnitude of one. Returns whether there are such units: float32 has steps and gradients as normal
 * numbers, below its limits, and 32 bits have a value with its step. */
static int units_of(const kt_streamed *s, int32_t held, int32_t product, streamed_units *units)
{
    const uint32_t gradient = kt_float_bits(kt_times(s->scale.value, &s->factor));
    const uint32_t step = kt_float_bits(kt_times(kt_float_of_bits(gradient), &s->rate));
    const int32_t field = kt_exponent_field(gradient), step_field = kt_exponent_field(step);
    units->factor = (kt_significand(step) + 128) >> 8;
    units->shift = kt_minimum(KT_STEP_SHIFT - 16 + held - step_field, 31);
    units->sign = (int32_t)step >> 31;
    return s->sparse && s->scale.fields != 0 && field > 1 && field < KT_EXPONENT_BIAS + 44 && step_field > 1 && units->shift >= 0 &&
           ((uint32_t)product * units->factor) >> units->shift < UINT32_C(1) << 30;
}

KT_INLINE int32_t units_of_product(const streamed_units *units, int32_t product)
{
    const int32_t magnitude = (int32_t)((kt_magnitude(product) * units->factor) >> units->shift), sign = (product >> 31) ^ units->sign;
    return (magnitude ^ sign) - sign;
}

/* By how much a step in units may be off: the last bit of 16, and the fraction. */
KT_INLINE int32_t doubt_of(int32_t step)
{
    return 1 + (int32_t)(kt_magnitude(step) >> 15);
}

/* The largest magnitude of a moved value in units, which may be off by *doubt. */
static int32_t largest_units(const kt_streamed_params *params, const kt_streamed *s, const streamed_units *units, const int8_t *value,
                             const int8_t *remainder, int32_t *doubt)
{
    int32_t largest = 0, most = 0, row, column, i = 0;
    for (row = 0; row < params->rows; row++) {
        const int32_t g = s->g[row];
        for (column = 0; column < params->columns; column++, i++) {
            const int32_t step = units_of_product(units, g * (s->x[column] + s->offset));
            most = kt_maximum(most, (int32_t)kt_magnitude(step));
            largest = kt_maximum(largest, (int32_t)kt_magnitude(kt_master(value[i], remainder[i]) * (1 << KT_UNIT_BITS) - step));
        }
    }
    *doubt = doubt_of(most);
    return largest;
}

/* The larger of `largest` and the magnitude of one moved value in units, as kt_largest_units. */
static int32_t units_at(const kt_streamed_params *params, const kt_streamed *s, const int8_t *value, const int8_t *remainder, int32_t held, int32_t i,
                        int32_t largest)
{
    const float step = kt_streamed_step(s, i / params->columns, i % params->columns);
    return kt_largest_units(value + i, remainder + i, &step, 1, held, largest);
}

/* Whether bounds tell the growth: *largest is what no magnitude exceeds, the largest master's and the largest step's together, and two elements, with
 * those, say what the largest is at least. */
static int growth_by_bounds(const kt_streamed_params *params, const kt_streamed *s, kt_streamed_place place, const int8_t *value,
                            const int8_t *remainder, int32_t held, int32_t *largest, int32_t *growth)
{
    const int32_t at = kt_place_of_master(value, remainder, params->rows * params->columns);
    const uint32_t step = kt_float_bits(kt_absolute(kt_streamed_step(s, place.row, place.column)));
    const int32_t shift = KT_STEP_SHIFT + held - kt_exponent_field(step);
    int32_t least = 0;
    if (shift < 2) {
        return 0;
    }
    *largest = kt_magnitude_of_master(value[at], remainder[at]) * (1 << KT_UNIT_BITS);
    *largest += (int32_t)((step << 8 | KT_HALF_WORD) >> kt_minimum(shift, 31)) + 1;
    least = units_at(params, s, value, remainder, held, at, least);
    least = units_at(params, s, value, remainder, held, place.row * params->columns + place.column, least);
    return kt_is_certain_between(least, *largest, held, growth);
}

/* Takes the steps; largest: no magnitude exceeds it. Where the exponent stays, so does what has no step; where units do not tell the rounding, float32
 * is asked. */
static void move_in_units(const kt_streamed_params *params, const kt_streamed *s, const streamed_units *units, int8_t *value, int8_t *remainder,
                          int32_t held, int32_t growth, int32_t largest)
{
    const int32_t down = KT_UNIT_BITS + growth, half = 1 << (down - 1), usual = kt_doubtful_units(largest);
    int32_t row, column, i = 0;
    for (row = 0; row < params->rows; row++) {
        const int32_t g = s->g[row];
        if (g == 0 && growth == 0) {
            i += params->columns;
            continue;
        }
        for (column = 0; column < params->columns; column++, i++) {
            const int32_t product = g * (s->x[column] + s->offset);
            if (product != 0 || growth != 0) {
                const int32_t master = kt_master(value[i], remainder[i]), step = units_of_product(units, product);
                const int32_t moved = master * (1 << KT_UNIT_BITS) - step + half, doubt = product == 0 ? 0 : usual + doubt_of(step);
                int32_t stored = (moved - doubt) >> down;
                if ((moved + doubt) >> down != stored) {
                    stored = kt_doubtful_master(master, kt_streamed_step(s, row, column), held, growth);
                }
                kt_store_master(&value[i], &remainder[i], stored);
            }
        }
    }
}

/* Without decay; returns whether it was done. */
static int in_integers(const kt_streamed_params *params, const kt_streamed *s, int8_t *value, int8_t *value_exponent, int8_t *remainder)
{
    const int32_t held = *value_exponent - 8;
    const kt_streamed_place place = kt_largest_product(params, s);
    const int32_t product = (int32_t)kt_magnitude(kt_streamed_product(s, place.row, place.column));
    streamed_units units;
    int32_t largest, growth, doubt;
    if (!units_of(s, held, product, &units)) {
        return 0;
    }
    if (!growth_by_bounds(params, s, place, value, remainder, held, &largest, &growth)) {
        largest = largest_units(params, s, &units, value, remainder, &doubt);
        if (!kt_is_certain_between(kt_maximum(largest - doubt, 0), largest + doubt, held, &growth)) {
            return 0;
        }
        largest += doubt;
    }
    move_in_units(params, s, &units, value, remainder, held, growth, largest);
    *value_exponent = (int8_t)(held + growth + 8);
    return 1;
}
#elif !defined(KT_SMALL)
/* Values with the power of two of their exponent, and what decay leaves of them. */
typedef struct {
    int8_t *value;
    int8_t *remainder;
    float unit;
    float kept;
} kt_streamed_values;

/* Whether no limit of a gradient's elements changes one: none is as large, and none is no number. */
static inline int is_within_limits(const kt_streamed *s)
{
    const float most = (float)(128 * 255) * s->scale.value * s->factor.value; /* of an int8 with a difference of two */
    return most <= KT_LARGEST_GRADIENT;
}

/* Element i with its step, of a gradient within limits: kt_streamed_step without what they take. */
KT_INLINE float moved_within(const kt_streamed *s, const kt_streamed_values *v, int32_t i, int32_t sum)
{
    const float gradient = (float)sum * s->scale.value * s->factor.value;
    return kt_block_moved(kt_master(v->value[i], v->remainder[i]), v->unit, v->kept, gradient * s->rate.value);
}

/* factor: 2^-e of an exponent that brings all within +-KT_MASTER_LIMIT, which none is held to therefore. stays: whether a value without a step is
 * what it was. */
static void move_within(const kt_streamed_params *params, const kt_streamed *s, const kt_streamed_values *v, float factor, int stays)
{
    const int8_t *const x = s->x;
    const int32_t columns = params->columns;
    int32_t row, column, i = 0;
    for (row = 0; row < params->rows; row++) {
        const int32_t g = s->g[row];
        if (g == 0 && stays) {
            i += columns;
            continue;
        }
        for (column = 0; column < columns; column++, i++) {
            const int32_t product = g * (x[column] + s->offset);
            if (product != 0 || !stays) {
                const float moved = moved_within(s, v, i, product);
                kt_store_master(&v->value[i], &v->remainder[i], kt_floor(kt_times_power(moved, factor) + 0.5f));
            }
        }
    }
}

/* Where no limit is met; returns whether it was done. */
static int within_limits(const kt_streamed_params *params, const kt_streamed *s, const kt_streamed_values *v, int8_t *value_exponent)
{
    float factor;
    int32_t chosen;
    if (!is_within_limits(s)) {
        return 0;
    }
    if (!kt_streamed_exponent(params, s, v->value, v->remainder, v->unit, v->kept, &chosen, &factor)) {
        const float largest = largest_moved(params, s, v->value, v->remainder, v->unit, v->kept);
        chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
        factor = kt_power_of_two(-chosen);
        if (!(largest * factor <= (float)KT_MASTER_LIMIT)) {
            return 0;
        }
    }
    move_within(params, s, v, factor, s->sparse && v->kept == 1.0f && chosen + 8 == *value_exponent);
    *value_exponent = (int8_t)(chosen + 8);
    return 1;
}
#endif

/* SGD on weights in 16 bits from the factors of their gradient: kt_weight_gradient of one position, kt_sgd and
 * kt_step_block16 in one. Three passes over the outer product: norm, largest moved value, 16-bit values, of which
 * the second is not made where bounds tell what it finds (bounds.h). */
void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                         const int32_t *count, const float *learning_rate)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const kt_streamed s = kt_streamed_weights_of(params, g, x, power, *count, *learning_rate);
    const float kept = kt_minus(1.0f, kt_decay_lost(params->decay, learning_rate));
    const float unit = kt_power_of_two(*value_exponent - 8);
    float factor;
    int32_t chosen, row, column;
    int32_t i = 0;
#if KT_SOFT_FLOAT
    if (kept == 1.0f && in_integers(params, &s, value, value_exponent, remainder)) {
        return;
    }
#elif !defined(KT_SMALL)
    {
        const kt_streamed_values values = {value, remainder, unit, kept};
        if (within_limits(params, &s, &values, value_exponent)) {
            return;
        }
    }
#endif
    chosen = kt_fitting_exponent(largest_moved(params, &s, value, remainder, unit, kept), (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++, i++) {
            const float moved = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, kt_streamed_step(&s, row, column));
            kt_store_master(&value[i], &remainder[i], kt_master_of(moved, factor));
        }
    }
    *value_exponent = (int8_t)(chosen + 8);
}

#endif
