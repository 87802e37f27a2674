/* Gradient of SOFTMAX over the last axis.
 *
 *     dx[i] = saturate8(shift_round(p[i] * (256 * g[i] - m), shift)), half up;  p = y + 128 in 1/256
 *     m     = 256 * sum_j p[j] * g[j] / sum_j p[j], to nearest
 *
 * The products stay below 2^24. */
#include "softmax_gradient.h"

void kt_softmax_gradient_s8(const kt_softmax_gradient_params *params, const int8_t *g, const int8_t *y, int8_t *dx)
{
    const int32_t depth = params->depth;
    const int32_t shift = params->shift;
    int32_t row, i;
    for (row = 0; row < params->rows; row++) {
        int32_t sum = 0, total = 0, mean;
        for (i = 0; i < depth; i++) {
            sum += (y[i] + 128) * g[i];
            total += y[i] + 128;
        }
        mean = softmax_mean(sum, total);
        for (i = 0; i < depth; i++) {
            dx[i] = softmax_slope(y[i] + 128, g[i], mean, shift);
        }
        g += depth;
        y += depth;
        dx += depth;
    }
}
