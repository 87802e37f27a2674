/* A step of an int32 parameter (a bias in accumulator units): value -= floor(step / unit + lost * value + 0.5), limited
 * to +-2^30. The step comes in the accumulator, which ends as 0. */
#include "kt/optim.h"
#include "storage_step.h"

void kt_step_int32(const kt_step_int32_params *params, int32_t *value, float *accumulator, const float *learning_rate)
{
    const float lost = kt_decay_lost(params->decay, learning_rate);
    int32_t i;
    for (i = 0; i < params->size; i++) {
        value[i] = kt_int32_moved(value[i], accumulator[i], params->unit[i], lost);
        accumulator[i] = 0.0f;
    }
}
