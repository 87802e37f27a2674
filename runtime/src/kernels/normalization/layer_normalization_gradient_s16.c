/* Gradient of layer normalisation of rows of int16 values, whose steps are finer: so are those of the sums. */
#include "row.h"

#define KT_FINER_BITS 6

void kt_layer_normalization_gradient_s16(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int16_t *x, int8_t *dx)
{
    const kt_layer_normalization_gradient_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of_s16(x, p.depth, epsilon);
        int32_t sum = 0;
        int64_t product = 0;
        for (i = 0; i < p.depth; i++) {
            const int32_t h = g[i] * kt_shift_round(p.gamma[i], 8);
            sum += h;
            product += (int64_t)h * coarse(&row, p.depth, x[i]);
        }
        product = shift_round_wide(product, COARSE_BITS);
        for (i = 0; i < p.depth; i++) {
            dx[i] = through_row(&p, &row, g[i] * kt_shift_round(p.gamma[i], 8), sum, product, x[i], KT_FINER_BITS);
        }
        g += p.depth;
        x += p.depth;
        dx += p.depth;
    }
}
