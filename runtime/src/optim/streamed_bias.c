/* SGD on a bias from the int8 gradient itself: kt_bias_gradient of one position, kt_sgd and kt_step_int32 in one. */
#include "storage_step.h"
#include "streamed.h"

void kt_streamed_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                      const int32_t *count, const float *learning_rate)
{
    const kt_streamed s = kt_streamed_of(params, g, NULL, *exponent, *count, *learning_rate);
    const float lost = kt_decay_lost(params->decay, learning_rate);
    int32_t i;
    for (i = 0; i < params->rows; i++) {
        value[i] = kt_int32_moved(value[i], kt_streamed_step(&s, i, 0), params->unit[i], lost);
    }
}
