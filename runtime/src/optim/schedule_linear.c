/* The learning rate falls linearly: rate = base * (1 + (final - 1) * t), t = updates / params->updates, and
 * base * final from t = 1 on. */
#include "kt/optim.h"

void kt_schedule_linear(const kt_schedule_params *params, const float *base, const int32_t *updates, float *rate)
{
    const float fall = params->final - 1.0f;
    float t, share;
    if (*updates >= params->updates) {
        *rate = *base * params->final;
        return;
    }
    t = (float)*updates / (float)params->updates;
    share = fall * t;
    share = 1.0f + share;
    *rate = *base * share;
}
