/* GRU with LoRA beside the weights of its input. The loops are those of gru.c: one that serves both takes a fifth more instructions there. */
#include <string.h>

#include "gru_gates.h"

void kt_gru_lora_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                    const int8_t *b_exponent, const int8_t *u_range, int8_t *y, int32_t *scratch)
{
    const kt_gru_params p = params->layer;
    const gru_addend added = {&params->lora, u, b, *b_exponent + *u_range, scratch};
    int16_t *const state = (int16_t *)(scratch + GATES * p.units);
    const int8_t *before = NULL;
    int32_t step, unit;
    memset(state, 0, (size_t)p.units * sizeof *state);
    for (step = 0; step < p.steps; step++) {
        const int32_t *const start = gru_start(&p, bias, &added, step);
        for (unit = 0; unit < p.units; unit++) {
            const kt_gru_unit found = gru_unit(&p, unit, x, start, before);
            y[unit] = gru_result(&p, &found, state + unit);
        }
        before = y;
        x += p.depth;
        y += p.units;
    }
}
