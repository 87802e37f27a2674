/* One step of a GRU that goes on from the state that the step before it left. */
#include <string.h>

#include "gru_gates.h"

void kt_gru_next_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *state, int8_t *y)
{
    const kt_gru_params p = *params;
    int32_t unit;
    for (unit = 0; unit < p.units; unit++) {
        const kt_gru_unit found = gru_unit(&p, unit, x, bias, hidden);
        y[unit] = gru_result(&p, &found, state + unit);
    }
    memcpy(hidden, y, (size_t)p.units);
}
