/* Gradient of layer normalisation.
 *
 *     h = g * gamma (gamma in 8 bits), n = the normalised x
 *     dx = (depth * h - sum(h) - n * sum(h * n)) / (depth * sqrt(variance + epsilon)) */
#include "row.h"

void kt_layer_normalization_gradient_s8(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const kt_layer_normalization_gradient_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of(x, p.depth, epsilon);
        int32_t sum = 0;
        int64_t product = 0;
        for (i = 0; i < p.depth; i++) {
            const int32_t h = g[i] * kt_shift_round(p.gamma[i], 8);
            sum += h;
            product += (int64_t)h * coarse(&row, p.depth, x[i]);
        }
        product = shift_round_wide(product, COARSE_BITS);
        for (i = 0; i < p.depth; i++) {
            dx[i] = through_row(&p, &row, g[i] * kt_shift_round(p.gamma[i], 8), sum, product, x[i], 0);
        }
        g += p.depth;
        x += p.depth;
        dx += p.depth;
    }
}
