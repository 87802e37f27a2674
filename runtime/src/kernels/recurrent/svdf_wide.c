/* SVDF with a state and time weights of 16 bits, whose sums may leave 32 bits: they are taken modulo 2^32, as the reference's compilers do. */
#include <string.h>

#include "feature.h"

void kt_svdf_s16(const kt_svdf_params *params, const int8_t *x, const int16_t *time, const int32_t *bias, int16_t *state, int8_t *y)
{
    const kt_svdf_params p = *params;
    const int8_t *weights = p.weights;
    int32_t unit, filter, i;
    for (unit = 0; unit < p.units; unit++) {
        uint32_t sum = (uint32_t)bias[unit];
        int32_t whole;
        for (filter = 0; filter < p.rank; filter++) {
            memmove(state, state + 1, (size_t)(p.memory - 1) * sizeof *state);
            state[p.memory - 1] = (int16_t)feature(&p, weights, x, INT16_MIN, INT16_MAX);
            for (i = 0; i < p.memory; i++) {
                sum += (uint32_t)(time[i] * (state[i] - p.state_zero));
            }
            weights += p.depth;
            state += p.memory;
            time += p.memory;
        }
        memcpy(&whole, &sum, sizeof whole);
        y[unit] = kt_clamp_with_offset(kt_requantize(whole, p.output_multiplier, p.output_shift), p.output_offset, INT8_MIN, INT8_MAX);
    }
}
