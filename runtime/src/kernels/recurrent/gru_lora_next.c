/* One step of a GRU with LoRA beside the weights of its input, which goes on from the state that the step before it left. */
#include <string.h>

#include "gru_gates.h"

void kt_gru_lora_next_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                         const int8_t *b_exponent, const int8_t *u_range, int8_t *hidden, int16_t *state, int8_t *y, int32_t *scratch)
{
    const kt_gru_params p = params->layer;
    const gru_addend added = {&params->lora, u, b, *b_exponent + *u_range, scratch};
    const int32_t *const start = gru_start(&p, bias, &added, 0);
    int32_t unit;
    for (unit = 0; unit < p.units; unit++) {
        const kt_gru_unit found = gru_unit(&p, unit, x, start, hidden);
        y[unit] = gru_result(&p, &found, state + unit);
    }
    memcpy(hidden, y, (size_t)p.units);
}
