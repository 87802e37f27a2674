/* SGD on a bias from the int8 gradient itself: kt_bias_gradient of one position, kt_sgd and kt_step_int32 in one. */
#include "decay.h"
#include "kt/numerics.h"
#include "streamed.h"

void kt_streamed_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                      const int32_t *count, const float *learning_rate)
{
    const kt_streamed s = kt_streamed_of(params, g, NULL, *exponent, *count, *learning_rate);
    const float lost = params->decay > 0.0f ? kt_decay_lost(params->decay, learning_rate) : 0.0f;
    const int32_t limit = INT32_C(1) << 30;
    int32_t i;
    for (i = 0; i < params->rows; i++) {
        const float step = kt_streamed_step(&s, i, 0) / params->unit[i];
        const float decayed = lost * (float)value[i];
        const int32_t moved = kt_saturate32((int64_t)value[i] - kt_round_half_up(step + decayed));
        value[i] = kt_clamp(moved, -limit, limit);
    }
}
