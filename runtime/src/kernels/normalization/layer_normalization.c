/* Layer normalisation: rows of int8 values brought to a mean of 0 and a variance of 1, times gamma, plus beta.
 *
 * The sums of a row are exact; what is rounded is 1 / sqrt, to 28 bits, each normalised value, to 20, and the result. */
#include "row.h"

void kt_layer_normalization_s8(const kt_layer_normalization_params *params, const int8_t *x, const int32_t *beta, int8_t *y)
{
    const kt_layer_normalization_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of(x, p.depth, epsilon);
        for (i = 0; i < p.depth; i++) {
            y[i] = scaled(&p, &row, i, x[i], beta[i]);
        }
        x += p.depth;
        y += p.depth;
    }
}
