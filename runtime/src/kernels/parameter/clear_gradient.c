/* The start of a gradient that no state holds: all 0. */
#include "../../product/halves.h"
#include "kt/kernels/parameter.h"

void kt_clear_gradient(const kt_clear_gradient_params *params, float *gradient)
{
    kt_clear_words(gradient, params->size); /* 0.0f */
}
