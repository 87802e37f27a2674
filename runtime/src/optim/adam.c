/* Adam with its moments in float32. */
#include "adam.h"

void kt_adam(const kt_adam_params *params, float *accumulator, float *first_moment, float *second_moment,
             const int32_t *count, const float *learning_rate, const float *first_power, const float *second_power)
{
    const kt_adam_update u =
        kt_adam_begin(params, accumulator, *count, *learning_rate, *first_power, *second_power);
    kt_adam_steps(params, &u, accumulator, first_moment, second_moment, params->size);
}
