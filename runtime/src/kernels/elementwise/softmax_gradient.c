/* Gradient of SOFTMAX over the last axis.
 *
 *     dx[i] = saturate8(shift_round(p[i] * (256 * g[i] - sum_j p[j] * g[j]), shift)), half up;  p = y + 128 in 1/256
 *
 * The products stay below 2^25 for the probabilities of a softmax, which sum to about 256. */
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

void kt_softmax_gradient_s8(const kt_softmax_gradient_params *params, const int8_t *g, const int8_t *y, int8_t *dx)
{
    const int32_t depth = params->depth;
    const int32_t shift = params->shift;
    int32_t row, i;
    for (row = 0; row < params->rows; row++) {
        int32_t mean = 0;
        for (i = 0; i < depth; i++) {
            mean += (y[i] + 128) * g[i];
        }
        for (i = 0; i < depth; i++) {
            const int32_t product = (y[i] + 128) * (256 * g[i] - mean);
            dx[i] = kt_saturate8(kt_shift_round(product, shift));
        }
        g += depth;
        y += depth;
        dx += depth;
    }
}
