/* Gradient of LOG_SOFTMAX, from its result. */
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

void kt_log_softmax_gradient_s8(const kt_log_softmax_gradient_params *params, const int8_t *g, const int8_t *y,
                                int8_t *dx)
{
    const kt_log_softmax_gradient_params p = *params;
    int32_t r, i;
    for (r = 0; r < p.rows; r++, g += p.depth, y += p.depth, dx += p.depth) {
        int32_t sum = 0;
        for (i = 0; i < p.depth; i++) {
            sum += g[i];
        }
        for (i = 0; i < p.depth; i++) {
            dx[i] = kt_saturate8(kt_shift_round(1024 * g[i] - p.probabilities[y[i] + 128] * sum, p.shift));
        }
    }
}
