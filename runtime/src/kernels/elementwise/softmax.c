/* SOFTMAX over the last axis, int8 to int8, in gemmlowp's fixed point.
 *
 *     y[i] = 256 * exp(x[i] - max) / sum_j exp(x[j] - max) - 128 */
#include "softmax.h"

void kt_softmax_s8(const kt_softmax_params *params, const int8_t *x, int8_t *y)
{
    const int32_t depth = params->depth;
    int32_t r, i;
    for (r = 0; r < params->rows; r++) {
        const softmax_row row = row_of(params, x);
        for (i = 0; i < depth; i++) {
            y[i] = (int8_t)kt_clamp(probability(params, row, x[i], 8) - 128, -128, 127);
        }
        x += depth;
        y += depth;
    }
}
