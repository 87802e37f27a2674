/* Lion with its moment in float32. */
#include "lion.h"

void kt_lion(const kt_lion_params *params, float *accumulator, float *momentum, const int32_t *count,
             const float *learning_rate)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    kt_lion_steps(params, factor, *learning_rate, accumulator, momentum, params->size);
}
