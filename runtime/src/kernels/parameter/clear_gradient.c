/* The start of a gradient that no state holds: all 0. */
#include "kt/kernels/parameter.h"

void kt_clear_gradient(const kt_clear_gradient_params *params, float *gradient)
{
    int32_t i;
    for (i = 0; i < params->size; i++) {
        gradient[i] = 0.0f;
    }
}
