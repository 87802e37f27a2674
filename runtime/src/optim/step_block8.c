/* A step of a tensor held in 8 bits with one power of two: training and inference share the codes.
 *
 *     moved = value * 2^e * (1 - lost) - step;  e' = the smallest that holds the largest |moved| in 127, in [-32, 100]
 *     value = saturate8(stochastic(moved * 2^-e'))
 *
 * Steps are mostly smaller than a code: rounding to nearest would lose them, rounding stochastically keeps them on
 * average. Source: Gupta et al., "Deep Learning with Limited Numerical Precision" (2015). */
#include "decay.h"
#include "kt/numerics.h"
#include "kt/optim.h"
#include "kt/random.h"

enum { LOWEST_EXPONENT = -32, HIGHEST_EXPONENT = 100, CODE_LIMIT = 127 };

/* accumulator = value * 2^exponent * kept - accumulator; returns the largest magnitude. */
static float take_step(const int8_t *value, int32_t exponent, float kept, float *accumulator, int32_t size)
{
    const float unit = kt_power_of_two(exponent);
    float largest = 0.0f;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float old = (float)value[i] * unit;
        const float left = old * kept;
        const float moved = left - accumulator[i];
        accumulator[i] = moved;
        largest = kt_larger_magnitude(largest, kt_absolute(moved));
    }
    return largest;
}

void kt_step_block8(const kt_step_block8_params *params, int8_t *value, int8_t *exponent, float *accumulator,
                    const int32_t *updates, const int32_t *seed, const float *learning_rate)
{
    const int32_t size = params->size;
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const float largest = take_step(value, *exponent, kept, accumulator, size);
    const int32_t chosen = kt_minimum(kt_exponent_for(largest, (float)CODE_LIMIT, LOWEST_EXPONENT), HIGHEST_EXPONENT);
    const uint32_t key = kt_random_key(*seed, *updates, params->stream);
    const float factor = kt_power_of_two(-chosen);
    int32_t i;
    for (i = 0; i < size; i++) {
        const float scaled = accumulator[i] * factor;
        const float limited = scaled < 128.0f ? (scaled > -128.0f ? scaled : -128.0f) : 128.0f;
        value[i] = kt_saturate8(kt_round_stochastic(limited, key, i));
        accumulator[i] = 0.0f;
    }
    *exponent = (int8_t)chosen;
}
