/* The clipped mean gradient in the place of the accumulated one. */
#include "gradient.h"
#include "kt/optim.h"

void kt_clip_gradient(const kt_clip_gradient_params *params, float *accumulator, const int32_t *count)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    int32_t i;
    for (i = 0; i < params->size; i++) {
        accumulator[i] = kt_gradient(accumulator[i], factor);
    }
}
