/* Layer normalisation: rows of int8 values brought to a mean of 0 and a variance of 1, times gamma, plus beta.
 *
 * The sums of a row are exact; what is rounded is 1 / sqrt, to 28 bits, each normalised value, to 20, and the result. */
#include "row.h"

void kt_layer_normalization_s8(const kt_layer_normalization_params *params, const int8_t *x, const int32_t *beta, int8_t *y)
{
    const kt_row_values values = {x, NULL};
    normalize_rows(params, values, beta, y);
}
