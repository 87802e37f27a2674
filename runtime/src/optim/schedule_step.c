/* The learning rate falls by a factor every so many updates: rate = base * factor^floor(updates / every), the power by
 * repeated squaring in float32. */
#include "kt/optim.h"

void kt_schedule_step(const kt_schedule_step_params *params, const float *base, const int32_t *updates, float *rate)
{
    uint32_t n = (uint32_t)(*updates / params->every);
    float power = 1.0f;
    float square = params->factor;
    while (n > 0) {
        if (n & 1u) {
            power = power * square;
        }
        square = square * square;
        n >>= 1;
    }
    *rate = *base * power;
}
