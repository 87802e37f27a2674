/* Stochastic gradient descent with a clip of the gradient's norm and, optionally, a float32 momentum. */
#include "sgd.h"

void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    kt_sgd_steps(params, factor, *learning_rate, accumulator, momentum, params->size);
}
