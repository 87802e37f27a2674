/* A step of a tensor held in 16 bits with one power of two, and the int8 codes that inference reads.
 *
 *     moved = master * 2^e * (1 - lost) - step;  e' = the smallest that holds the largest |moved| in 32767, in [-32, 100]
 *     master = floor(moved * 2^-e' + 0.5)
 *     value = saturate8(shift_round(master, k)), k = 8, or 9 where a code needs it
 *
 * The moved values lie in the accumulator in between, which ends as 0. */
#include "kt/architecture.h"
#include "kt/optim.h"
#include "block16.h"
#include "storage_step.h"

#if !KT_VECTOR

#if KT_SOFT_FLOAT
/* Without decay; returns whether it was done. */
static int in_integers(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int16_t *master, int8_t *master_exponent,
                       float *accumulator)
{
    const int32_t held = *master_exponent, largest = kt_largest_units(master, accumulator, params->size, held, 0);
    int32_t growth, widest;
    if (!kt_is_certain_growth(largest, held, &growth)) {
        return 0;
    }
    widest = kt_move_masters(master, accumulator, params->size, held, growth, largest, 0);
    kt_clear_words(accumulator, params->size);
    kt_block16_codes(value, exponent, master, master_exponent, params->size, widest, held + growth);
    return 1;
}
#endif

void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int16_t *master,
                     int8_t *master_exponent, float *accumulator, const float *learning_rate)
{
    const float kept = kt_minus(1.0f, kt_decay_lost(params->decay, learning_rate));
    const float unit = kt_power_of_two(*master_exponent);
    float largest = 0.0f;
    float factor;
    int32_t chosen, i, widest = 0;
#if KT_SOFT_FLOAT
    if (kept == 1.0f && in_integers(params, value, exponent, master, master_exponent, accumulator)) {
        return;
    }
#endif
    for (i = 0; i < params->size; i++) {
        accumulator[i] = kt_block_moved(master[i], unit, kept, accumulator[i]);
        largest = kt_larger_magnitude(largest, kt_absolute(accumulator[i]));
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    for (i = 0; i < params->size; i++) {
        const int32_t code = kt_master_of(accumulator[i], factor);
        widest = kt_larger_master(widest, code);
        master[i] = (int16_t)code;
        accumulator[i] = 0.0f;
    }
    kt_block16_codes(value, exponent, master, master_exponent, params->size, widest, chosen);
}

#endif
