/* UNIDIRECTIONAL_SEQUENCE_LSTM: int8 rows, gates and cell of 16 bits. Source: TensorFlow Lite Micro's kernel for int8 activations and an int16
 * cell. */
#include "lstm.h"

void kt_lstm_s8(const kt_lstm_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *cell, int8_t *y, int16_t *scratch)
{
    lstm_walk(params, NULL, x, bias, hidden, cell, y, scratch);
}
