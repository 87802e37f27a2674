/* SOFTMAX over the last axis, int8 to int16, in gemmlowp's fixed point.
 *
 *     y[i] = 65536 * exp(x[i] - max) / sum_j exp(x[j] - max) - 32768 */
#include "softmax.h"

void kt_softmax_s8_s16(const kt_softmax_params *params, const int8_t *x, int16_t *y)
{
    const int32_t depth = params->depth;
    int32_t r, i;
    for (r = 0; r < params->rows; r++) {
        const softmax_row row = row_of(params, x);
        for (i = 0; i < depth; i++) {
            y[i] = (int16_t)kt_clamp(probability(params, row, x[i], 16) - 32768, -32768, 32767);
        }
        x += depth;
        y += depth;
    }
}
