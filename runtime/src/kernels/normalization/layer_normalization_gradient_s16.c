/* Gradient of layer normalisation of rows of int16 values, whose steps are finer: so are those of the sums. */
#include "row.h"

#define KT_FINER_BITS 6

void kt_layer_normalization_gradient_s16(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int16_t *x, int8_t *dx)
{
    const kt_row_values values = {NULL, x};
    gradients_of_rows(params, g, values, dx, KT_FINER_BITS);
}
