/* Gradient through time of an LSTM with deltas. */
#include "lstm_gradient.h"

void kt_lstm_delta_gradient_s8(const kt_lstm_delta_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias,
                               const int8_t *delta, const int8_t *delta_exponent, const int8_t *recurrent_delta,
                               const int8_t *recurrent_delta_exponent, int8_t *dz, int32_t *scratch)
{
    const lstm_trained trained = {&params->delta, delta, recurrent_delta, *delta_exponent, *recurrent_delta_exponent, params->room};
    lstm_gradient_walk(&params->gradient, &trained, g, x, y, bias, dz, scratch);
}
