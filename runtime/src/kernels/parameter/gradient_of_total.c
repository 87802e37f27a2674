/* The gradient of a parameter from sums of stripes that together may be larger than float32 holds whole numbers: their total is int32, scaled
 * once, as the sums of a whole gradient are. */
#include <stddef.h>

#include "kt/kernels/parameter.h"
#include "parameter_gradient.h"

void kt_total_of_sums(const kt_total_of_sums_params *params, const float *sums, const int32_t *total, int32_t *result)
{
    int32_t i;
    for (i = 0; i < params->size; i++) {
        result[i] = (total == NULL ? 0 : total[i]) + (int32_t)sums[i];
    }
}

/* total and result may be the same words, of either type: each is read before it is written. */
void kt_gradient_of_total(const kt_gradient_of_sums_params *params, const int32_t *total, const int32_t *exponent,
                          const int8_t *exponent_offset, const float *accumulator, float *result)
{
    const float scale = kt_gradient_scale(params->scale, *exponent + (exponent_offset == NULL ? 0 : *exponent_offset));
    int32_t i;
    for (i = 0; i < params->size; i++) {
        int32_t sum;
        memcpy(&sum, total + i, sizeof sum);
        {
            const float gradient = kt_accumulate(accumulator == NULL ? 0.0f : accumulator[i], sum, scale);
            memcpy(result + i, &gradient, sizeof gradient);
        }
    }
}
