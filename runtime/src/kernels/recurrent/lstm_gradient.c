/* Gradient of an LSTM through time. */
#include "lstm_gradient.h"

void kt_lstm_gradient_s8(const kt_lstm_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias, int8_t *dz,
                         int32_t *scratch)
{
    lstm_gradient_walk(params, NULL, g, x, y, bias, dz, scratch);
}
