/* SGD on weights in 16 bits whose gradient stands nowhere as a whole: kt_weight_gradient of some rows at a time, kt_sgd and kt_step_block16 in one.
 * Three passes over all rows: norm, largest moved value, 16-bit values. */
#include "kt/optim.h"

#include <stddef.h>

#include "gradient.h"
#include "storage_step.h"

/* What each pass goes over; part: room for some rows; numbers: of each row its place there, or -1. */
typedef struct {
    kt_weight_gradient_params gradient;
    const int8_t *g;
    const int8_t *x;
    const int32_t *exponent;
    const int8_t *exponent_offset;
    float *part;
    int16_t *numbers;
} streamed_rows;

/* The gradient of rows from `first` on; returns how many elements they are. */
static int32_t gradient_of(const kt_streamed_rows_params *params, const streamed_rows *s, int32_t first)
{
    const int32_t count = kt_minimum(params->rows - first, params->part);
    int32_t row;
    for (row = 0; row < params->rows; row++) {
        s->numbers[row] = (int16_t)(row >= first && row < first + count ? row - first : -1);
    }
    kt_clear_words(s->part, count * params->columns);
    kt_weight_gradient(&s->gradient, s->g, s->x, s->exponent, s->exponent_offset, s->part, NULL);
    return count * params->columns;
}

void kt_streamed_rows(const kt_streamed_rows_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                      const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                      const int32_t *count, const float *learning_rate, void *scratch)
{
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const float unit = kt_power_of_two(*value_exponent - 8);
    const kt_float_factor rate = kt_factor_of(*learning_rate);
    float factor = 1.0f / (float)*count, squares = 0.0f, largest = 0.0f, down;
    int32_t row, chosen, length, i, k;
    kt_float_factor by;
    streamed_rows s;
    s.gradient = params->gradient;
    s.g = g;
    s.x = x;
    s.exponent = exponent;
    s.exponent_offset = exponent_offset;
    s.part = scratch;
    s.numbers = (int16_t *)(s.part + params->part * params->columns);
    s.gradient.rows = s.numbers;
    if (params->clip > 0.0f) {
        for (row = 0; row < params->rows; row += params->part) {
            length = gradient_of(params, &s, row);
            squares = kt_add_squares(squares, s.part, length, factor);
        }
        factor = kt_clipped_factor(factor, kt_norm_of(squares), params->clip);
    }
    by = kt_factor_of(factor);
    for (row = 0, i = 0; row < params->rows; row += params->part) {
        length = gradient_of(params, &s, row);
        for (k = 0; k < length; k++, i++) {
            const float step = kt_times(kt_gradient_by(s.part[k], &by), &rate);
            const float moved = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, step);
            largest = kt_larger_magnitude(largest, kt_absolute(moved));
        }
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    down = kt_power_of_two(-chosen);
    for (row = 0, i = 0; row < params->rows; row += params->part) {
        length = gradient_of(params, &s, row);
        for (k = 0; k < length; k++, i++) {
            const float step = kt_times(kt_gradient_by(s.part[k], &by), &rate);
            const float moved = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, step);
            kt_store_master(&value[i], &remainder[i], kt_master_of(moved, down));
        }
    }
    *value_exponent = (int8_t)(chosen + 8);
}
