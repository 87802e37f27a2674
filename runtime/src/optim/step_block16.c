/* A step of a tensor held in 16 bits with one power of two: the int8 codes that inference reads, and their remainders.
 *
 *     master = 256 value + remainder;  moved = master * 2^e * (1 - lost) - step
 *     e' = the smallest that holds the largest |moved| in KT_MASTER_LIMIT, in [-32, 100];  master' = floor(moved * 2^-e' + 0.5)
 *     value' = (master' + 128) >> 8,  remainder' = master' - 256 value',  exponent' = e' + 8
 *
 * The moved values lie in the accumulator in between, which ends as 0. */
#include "kt/architecture.h"
#include "kt/optim.h"
#include "block16.h"
#include "storage_step.h"

#if !KT_VECTOR

#define KT_STEP_IN_FOURS (KT_FLOAT_FOURS && !KT_MVE)
#if KT_MVE
#include "mve/step_lanes.h"
#elif KT_STEP_IN_FOURS
#include "dsp/step_words.h"
#elif KT_SOFT_FLOAT
/* Without decay; returns whether it was done. */
static int in_integers(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int8_t *remainder, float *accumulator)
{
    const int32_t held = *exponent - 8, largest = kt_largest_units(value, remainder, accumulator, params->size, held, 0);
    int32_t growth;
    if (!kt_is_certain_growth(largest, held, &growth)) {
        return 0;
    }
    kt_move_masters(value, remainder, accumulator, params->size, held, growth, largest);
    kt_clear_words(accumulator, params->size);
    *exponent = (int8_t)(held + growth + 8);
    return 1;
}
#endif

void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int8_t *remainder,
                     float *accumulator, const float *learning_rate)
{
    const float kept = kt_minus(1.0f, kt_decay_lost(params->decay, learning_rate));
    const float unit = kt_power_of_two(*exponent - 8);
    float largest = 0.0f;
    float factor;
    int32_t chosen, i = 0;
#if KT_MVE
    if (kt_step_in_lanes(value, exponent, remainder, accumulator, params->size, kept)) {
        return;
    }
#elif KT_SOFT_FLOAT
    if (kept == 1.0f && in_integers(params, value, exponent, remainder, accumulator)) {
        return;
    }
#endif
#if KT_STEP_IN_FOURS
    largest = kt_move_fours(value, remainder, accumulator, params->size / 4, unit, kept);
    i = params->size / 4 * 4;
#endif
    for (; i < params->size; i++) {
        accumulator[i] = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, accumulator[i]);
        largest = kt_larger_magnitude(largest, kt_absolute(accumulator[i]));
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    i = 0;
#if KT_STEP_IN_FOURS
    if (largest * factor <= (float)KT_MASTER_LIMIT) { /* which no number is that is none */
        kt_store_fours(value, remainder, accumulator, params->size / 4, factor);
        i = params->size / 4 * 4;
    }
#endif
    for (; i < params->size; i++) {
        kt_store_master(&value[i], &remainder[i], kt_master_of(accumulator[i], factor));
        accumulator[i] = 0.0f;
    }
    *exponent = (int8_t)(chosen + 8);
}

#endif
