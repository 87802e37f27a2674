/* A step of an int32 parameter (a bias in accumulator units): value -= floor(step / unit + lost * value + 0.5), limited
 * to +-2^30. The step comes in the accumulator, which ends as 0. */
#include "decay.h"
#include "kt/numerics.h"
#include "kt/optim.h"

void kt_step_int32(const kt_step_int32_params *params, int32_t *value, float *accumulator, const float *learning_rate)
{
    const int32_t size = params->size;
    const int32_t limit = INT32_C(1) << 30;
    const float lost = kt_decay_lost(params->decay, learning_rate);
    int32_t i;
    for (i = 0; i < size; i++) {
        const float step = accumulator[i] / params->unit[i];
        const float decayed = lost * (float)value[i];
        const int32_t steps = kt_round_half_up(step + decayed);
        const int32_t moved = kt_saturate32((int64_t)value[i] - steps);
        value[i] = kt_clamp(moved, -limit, limit);
        accumulator[i] = 0.0f;
    }
}
