/* Layer normalisation of rows of int16 values. */
#include "row.h"

void kt_layer_normalization_s16(const kt_layer_normalization_params *params, const int16_t *x, const int32_t *beta, int8_t *y)
{
    const kt_layer_normalization_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of_s16(x, p.depth, epsilon);
        for (i = 0; i < p.depth; i++) {
            y[i] = scaled(&p, &row, i, x[i], beta[i]);
        }
        x += p.depth;
        y += p.depth;
    }
}
