/* UNIDIRECTIONAL_SEQUENCE_LSTM with trained deltas of its weights. */
#include "lstm.h"

void kt_lstm_delta_s8(const kt_lstm_delta_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *cell, const int8_t *delta,
                      const int8_t *delta_exponent, const int8_t *recurrent_delta, const int8_t *recurrent_delta_exponent, int8_t *y, int16_t *scratch)
{
    const lstm_trained trained = {&params->delta, delta, recurrent_delta, *delta_exponent, *recurrent_delta_exponent, 0};
    lstm_walk(&params->layer, &trained, x, bias, hidden, cell, y, scratch);
}
