/* SGD from the factors of a gradient, which stands nowhere. */
#include "streamed.h"
#include "kt/architecture.h"
#include "storage_step.h"

#if !KT_VECTOR

/* Whether moves are taken in integers: not in a build for size where a core computes float32. */
#if !defined(KT_SMALL) || KT_SMALL_FLOAT
#define KT_IN_INTEGERS 1
#include "moves.h"
#else
#define KT_IN_INTEGERS 0
#endif

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
            if (KT_FOR_SPEED && s->sparse && kt_streamed_product(s, row, column) == 0) {
                held = kt_maximum(held, kt_magnitude_of_master(value[i], remainder[i]));
            } else {
                const float moved = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, kt_streamed_step(s, row, column));
                largest = kt_larger_magnitude(largest, kt_absolute(moved));
            }
        }
    }
    return kt_larger_magnitude(largest, kt_absolute(kt_block_moved(held, unit, kept, 0.0f)));
}

/* SGD on weights in 16 bits from the factors of their gradient: kt_weight_gradient of one position, kt_sgd and
 * kt_step_block16 in one. Three passes over the outer product: norm, largest moved value, 16-bit values, the last two in
 * integers where those tell what float32 finds (moves.h). */
void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                         const int32_t *count, const float *learning_rate)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const kt_streamed s = kt_streamed_weights_of(params, g, x, power, *count, *learning_rate);
    const float kept = kt_minus(1.0f, kt_decay_lost(params->decay, learning_rate));
    const int32_t held = *value_exponent - 8;
    const float unit = kt_power_of_two(held);
    float factor;
    int32_t chosen, row, column;
    int32_t i = 0;
#if KT_IN_INTEGERS
    {
        kt_moves moves;
        if (kt_moves_of(params, &s, held, kept, &moves) && kt_choose_growth(&moves, value, remainder)) {
            kt_move_all(&moves, value, remainder);
            *value_exponent = (int8_t)(*value_exponent + moves.coarser + moves.growth);
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
