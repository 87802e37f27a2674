/* A step of a tensor held in 8 bits with one power of two: training and inference share the codes.
 *
 *     moved = value * 2^e * (1 - lost) - step;  e' = the smallest that holds the largest |moved| in 127, in [-32, 100]
 *     value = saturate8(stochastic(moved * 2^-e'))
 *
 * Steps are mostly smaller than a code: rounding to nearest would lose them, rounding stochastically keeps them on
 * average. Source: Gupta et al., "Deep Learning with Limited Numerical Precision" (2015). */
#include "kt/optim.h"
#include "kt/random.h"
#include "storage_step.h"

enum { CODE_LIMIT = 127 };

void kt_step_block8(const kt_step_block8_params *params, int8_t *value, int8_t *exponent, float *accumulator,
                    const int32_t *updates, const int32_t *seed, const float *learning_rate)
{
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const float unit = kt_power_of_two(*exponent);
    const uint32_t key = kt_random_key(*seed, *updates, params->stream);
    float largest = 0.0f;
    float factor;
    int32_t chosen, i;
    for (i = 0; i < params->size; i++) {
        accumulator[i] = kt_block_moved(value[i], unit, kept, accumulator[i]);
        largest = kt_larger_magnitude(largest, kt_absolute(accumulator[i]));
    }
    chosen = kt_fitting_exponent(largest, (float)CODE_LIMIT);
    factor = kt_power_of_two(-chosen);
    for (i = 0; i < params->size; i++) {
        const float scaled = accumulator[i] * factor;
        const float limited = scaled < 128.0f ? (scaled > -128.0f ? scaled : -128.0f) : 128.0f;
        value[i] = kt_saturate8(kt_round_stochastic(limited, key, i));
        accumulator[i] = 0.0f;
    }
    *exponent = (int8_t)chosen;
}
