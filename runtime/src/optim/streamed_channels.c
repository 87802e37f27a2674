/* SGD from the factors of a gradient where not every channel is trained: g of those that are, one after the other, and the step of these. */
#include "kt/optim.h"

void kt_streamed_channels(const kt_streamed_channels_params *params, const int8_t *g, const int16_t *rows, const int8_t *x,
                          const int32_t *exponent, const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent,
                          int8_t *remainder, const int32_t *count, const float *learning_rate, void *scratch)
{
    int8_t *const trained = scratch;
    int32_t channel;
    for (channel = 0; channel < params->channels; channel++) {
        if (rows[channel] >= 0) {
            trained[rows[channel]] = g[channel];
        }
    }
    kt_streamed_weights(&params->streamed, trained, x, exponent, exponent_offset, value, value_exponent, remainder, count, learning_rate);
}
