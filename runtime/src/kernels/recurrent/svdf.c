/* SVDF with a state of 8 bits. The reference limits a feature before it adds the zero point, and so wraps around: this does the same. */
#include <string.h>

#include "feature.h"

void kt_svdf_s8(const kt_svdf_params *params, const int8_t *x, const int8_t *time, const int32_t *bias, int8_t *state, int8_t *y)
{
    const kt_svdf_params p = *params;
    const int8_t *weights = p.weights;
    int32_t unit, filter, i;
    for (unit = 0; unit < p.units; unit++) {
        int32_t sum = 0;
        int32_t last;
        for (filter = 0; filter < p.rank; filter++) {
            memmove(state, state + 1, (size_t)(p.memory - 1));
            last = feature(&p, weights, x, INT8_MIN, INT8_MAX) + p.state_zero;
            state[p.memory - 1] = (int8_t)(((last + 128) & 255) - 128); /* modulo 256 */
            for (i = 0; i < p.memory; i++) {
                sum += time[i] * (state[i] - p.state_zero);
            }
            weights += p.depth;
            state += p.memory;
            time += p.memory;
        }
        y[unit] = kt_clamp_with_offset(kt_requantize(kt_add_saturated(sum, bias[unit]), p.output_multiplier, p.output_shift), p.output_offset, INT8_MIN, INT8_MAX);
    }
}
