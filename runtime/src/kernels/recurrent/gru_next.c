/* One step of a GRU that goes on from the state that the step before it left. */
#include "gru_gates.h"

void kt_gru_next_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *state, int8_t *y)
{
    gru_go_on(params, x, bias, NULL, hidden, state, y);
}
