/* A step of an int32 parameter (a bias in accumulator units): value -= floor(step / unit + 0.5), limited to +-2^30.
 * The step comes in the accumulator, which ends as 0. */
#include "kt/numerics.h"
#include "kt/optim.h"

void kt_step_int32(const kt_step_int32_params *params, int32_t *value, float *accumulator)
{
    const int32_t size = params->size;
    const int32_t limit = INT32_C(1) << 30;
    int32_t i;
    for (i = 0; i < size; i++) {
        const int32_t steps = kt_round_half_up(accumulator[i] / params->unit[i]);
        const int32_t moved = kt_saturate32((int64_t)value[i] - steps);
        value[i] = kt_clamp(moved, -limit, limit);
        accumulator[i] = 0.0f;
    }
}
