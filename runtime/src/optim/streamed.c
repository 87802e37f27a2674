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

#if KT_SOFT_FLOAT
/* Steps of a row from a column on, a part at most; returns how many. */
static int32_t steps_of(const kt_streamed *s, int32_t row, int32_t column, int32_t columns, float *steps)
{
    const int32_t length = kt_minimum(columns - column, KT_STREAMED_PART);
    int32_t i;
    for (i = 0; i < length; i++) {
        steps[i] = kt_streamed_step(s, row, column + i);
    }
    return length;
}

/* Without decay; returns whether it was done. */
static int in_integers(const kt_streamed_params *params, const kt_streamed *s, int8_t *value, int8_t *value_exponent, int16_t *master,
                       int8_t *master_exponent)
{
    const int32_t held = *master_exponent, columns = params->columns;
    float steps[KT_STREAMED_PART];
    int32_t largest = 0, widest = 0, growth, row, column, i = 0, length;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < columns; column += length, i += length) {
            length = steps_of(s, row, column, columns, steps);
            largest = kt_largest_units(master + i, steps, length, held, largest);
        }
    }
    if (!kt_is_certain_growth(largest, held, &growth)) {
        return 0;
    }
    i = 0;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < columns; column += length, i += length) {
            length = steps_of(s, row, column, columns, steps);
            widest = kt_move_masters(master + i, steps, length, held, growth, largest, widest);
        }
    }
    kt_block16_codes(value, value_exponent, master, master_exponent, params->rows * columns, widest, held + growth);
    return 1;
}
#endif

/* SGD on weights in 16 bits from the factors of their gradient: kt_weight_gradient of one position, kt_sgd and
 * kt_step_block16 in one. Three passes over the outer product: norm, largest moved value, 16-bit values. */
void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int16_t *master,
                         int8_t *master_exponent, const int32_t *count, const float *learning_rate)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const kt_streamed s = kt_streamed_of(params, g, x, power, *count, *learning_rate);
    const float kept = kt_minus(1.0f, kt_decay_lost(params->decay, learning_rate));
    const float unit = kt_power_of_two(*master_exponent);
    float largest = 0.0f;
    float factor;
    int32_t chosen, row, column;
    int32_t i = 0, widest = 0;
#if KT_SOFT_FLOAT
    if (kept == 1.0f && in_integers(params, &s, value, value_exponent, master, master_exponent)) {
        return;
    }
#endif
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++, i++) {
            const float moved = kt_block_moved(master[i], unit, kept, kt_streamed_step(&s, row, column));
            largest = kt_larger_magnitude(largest, kt_absolute(moved));
        }
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    i = 0;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++, i++) {
            const int32_t code = kt_master_of(kt_block_moved(master[i], unit, kept, kt_streamed_step(&s, row, column)), factor);
            widest = kt_larger_master(widest, code);
            master[i] = (int16_t)code;
        }
    }
    kt_block16_codes(value, value_exponent, master, master_exponent, params->rows * params->columns, widest, chosen);
}

#endif
