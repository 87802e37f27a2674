/* Gradient of layer normalisation.
 *
 *     h = g * gamma (gamma in 8 bits), n = the normalised x
 *     dx = (depth * h - sum(h) - n * sum(h * n)) / (depth * sqrt(variance + epsilon)) */
#include "row.h"

void kt_layer_normalization_gradient_s8(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const kt_row_values values = {x, NULL};
    gradients_of_rows(params, g, values, dx, 0);
}
