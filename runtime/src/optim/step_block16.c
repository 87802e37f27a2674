/* A step of a tensor held in 16 bits with one power of two, and the int8 codes that inference reads.
 *
 *     moved = master * 2^e * (1 - lost) - step;  e' = the smallest that holds the largest |moved| in 32767, in [-32, 100]
 *     master = floor(moved * 2^-e' + 0.5)
 *     value = saturate8(shift_round(master, k)), k = 8, or 9 where a code needs it
 *
 * Three passes; the moved values lie in the accumulator in between, which ends as 0. */
#include "decay.h"
#include "kt/numerics.h"
#include "kt/optim.h"

enum { LOWEST_EXPONENT = -32, HIGHEST_EXPONENT = 100, MASTER_LIMIT = 32767 };

/* accumulator = master * 2^exponent * kept - accumulator; returns the largest magnitude. */
static float take_step(const int16_t *master, int32_t exponent, float kept, float *accumulator, int32_t size)
{
    const float unit = kt_power_of_two(exponent);
    float largest = 0.0f;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float old = (float)master[i] * unit;
        const float left = old * kept;
        const float moved = left - accumulator[i];
        accumulator[i] = moved;
        largest = kt_larger_magnitude(largest, kt_absolute(moved));
    }
    return largest;
}

/* master = accumulator * 2^-exponent in 16 bits; accumulator = 0; returns the largest magnitude. */
static int32_t store_master(int16_t *master, int32_t exponent, float *accumulator, int32_t size)
{
    const float factor = kt_power_of_two(-exponent);
    int32_t largest = 0;
    int32_t i;
    for (i = 0; i < size; i++) {
        const int32_t rounded = kt_round_half_up(accumulator[i] * factor);
        const int32_t limited = kt_clamp(rounded, -MASTER_LIMIT, MASTER_LIMIT);
        master[i] = (int16_t)limited;
        accumulator[i] = 0.0f;
        largest = kt_maximum(largest, limited < 0 ? -limited : limited);
    }
    return largest;
}

void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int16_t *master,
                     int8_t *master_exponent, float *accumulator, const float *learning_rate)
{
    const int32_t size = params->size;
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const float largest = take_step(master, *master_exponent, kept, accumulator, size);
    const int32_t fitting = kt_exponent_for(largest, (float)MASTER_LIMIT, LOWEST_EXPONENT);
    const int32_t chosen = kt_minimum(fitting, HIGHEST_EXPONENT);
    const int32_t shift = store_master(master, chosen, accumulator, size) <= 127 * 256 ? 8 : 9;
    int32_t i;
    for (i = 0; i < size; i++) {
        value[i] = kt_saturate8(kt_shift_round(master[i], shift));
    }
    *master_exponent = (int8_t)chosen;
    *exponent = (int8_t)(chosen + shift);
}
