/* Layer normalisation: rows of int8 values brought to a mean of 0 and a variance of 1, times gamma, plus beta.
 *
 * The sums of a row are exact; what is rounded is 1 / sqrt, to 28 bits, each normalised value, to 20, and the result. */
#include "kt/kernels/normalization.h"
#include "row.h"

void kt_layer_normalization_s8(const kt_layer_normalization_params *params, const int8_t *x, const int32_t *beta, int8_t *y)
{
    const kt_layer_normalization_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of(x, p.depth, epsilon);
        for (i = 0; i < p.depth; i++) {
            const int64_t product = (int64_t)normalized(&row, p.depth, x[i]) * p.gamma[i];
            const int32_t sum = kt_add_saturated((int32_t)shift_round_wide(product, 15), beta[i]);
            y[i] = kt_clamp_with_offset(kt_requantize(sum, p.multiplier, p.shift), p.output_offset, INT8_MIN, INT8_MAX);
        }
        x += p.depth;
        y += p.depth;
    }
}
