/* SGD on weights in 16 bits from the factors of their gradient: kt_weight_gradient of one position, kt_sgd and
 * kt_step_block16 in one. Four passes over the outer product: norm, largest moved value, 16-bit values, codes. */
#include "decay.h"
#include "kt/numerics.h"
#include "streamed.h"

enum { LOWEST_EXPONENT = -32, HIGHEST_EXPONENT = 100, MASTER_LIMIT = 32767 };

/* master * unit * kept - step */
static inline float moved(const kt_streamed *s, int16_t master, float unit, float kept, int32_t row, int32_t column)
{
    const float old = (float)master * unit;
    const float left = old * kept;
    return left - kt_streamed_step(s, row, column);
}

static int32_t fitting_exponent(const kt_streamed_params *params, const kt_streamed *s, const int16_t *master,
                                float unit, float kept)
{
    float largest = 0.0f;
    int32_t row, column;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++) {
            const float value = moved(s, *master++, unit, kept, row, column);
            largest = kt_larger_magnitude(largest, kt_absolute(value));
        }
    }
    return kt_minimum(kt_exponent_for(largest, (float)MASTER_LIMIT, LOWEST_EXPONENT), HIGHEST_EXPONENT);
}

/* Returns the largest magnitude stored. */
static int32_t store_master(const kt_streamed_params *params, const kt_streamed *s, int16_t *master, float unit,
                            float kept, int32_t exponent)
{
    const float factor = kt_power_of_two(-exponent);
    int32_t largest = 0;
    int32_t row, column;
    for (row = 0; row < params->rows; row++) {
        for (column = 0; column < params->columns; column++) {
            const int32_t rounded = kt_round_half_up(moved(s, *master, unit, kept, row, column) * factor);
            const int32_t limited = kt_clamp(rounded, -MASTER_LIMIT, MASTER_LIMIT);
            *master++ = (int16_t)limited;
            largest = kt_maximum(largest, limited < 0 ? -limited : limited);
        }
    }
    return largest;
}

void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int16_t *master,
                         int8_t *master_exponent, const int32_t *count, const float *learning_rate)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const kt_streamed s = kt_streamed_of(params, g, x, power, *count, *learning_rate);
    const float kept = 1.0f - (params->decay > 0.0f ? kt_decay_lost(params->decay, learning_rate) : 0.0f);
    const float unit = kt_power_of_two(*master_exponent);
    const int32_t chosen = fitting_exponent(params, &s, master, unit, kept);
    const int32_t shift = store_master(params, &s, master, unit, kept, chosen) <= 127 * 256 ? 8 : 9;
    const int32_t size = params->rows * params->columns;
    int32_t i;
    for (i = 0; i < size; i++) {
        value[i] = kt_saturate8(kt_shift_round(master[i], shift));
    }
    *master_exponent = (int8_t)chosen;
    *value_exponent = (int8_t)(chosen + shift);
}
