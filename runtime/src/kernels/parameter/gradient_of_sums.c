/* The gradient of a parameter from sums of stripes: scaled once, as the sums of a whole gradient are. */
#include <stddef.h>

#include "kt/kernels/parameter.h"
#include "parameter_gradient.h"

void kt_gradient_of_sums(const kt_gradient_of_sums_params *params, const float *sums, const int32_t *exponent,
                         const int8_t *exponent_offset, const float *accumulator, float *result)
{
    const float scale = kt_gradient_scale(params->scale, *exponent + (exponent_offset == NULL ? 0 : *exponent_offset));
    int32_t i;
    for (i = 0; i < params->size; i++) {
        result[i] = kt_accumulate(accumulator == NULL ? 0.0f : accumulator[i], (int32_t)sums[i], scale);
    }
}
