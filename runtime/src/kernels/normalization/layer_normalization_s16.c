/* Layer normalisation of rows of int16 values. */
#include "row.h"

void kt_layer_normalization_s16(const kt_layer_normalization_params *params, const int16_t *x, const int32_t *beta, int8_t *y)
{
    const kt_row_values values = {NULL, x};
    normalize_rows(params, values, beta, y);
}
