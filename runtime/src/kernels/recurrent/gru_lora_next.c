/* One step of a GRU with LoRA beside the weights of its input, which goes on from the state that the step before it left. */
#include "gru_gates.h"

void kt_gru_lora_next_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                         const int8_t *b_exponent, const int8_t *u_range, int8_t *hidden, int16_t *state, int8_t *y, int32_t *scratch)
{
    const gru_addend added = {&params->lora, u, b, *b_exponent + *u_range, scratch};
    gru_go_on(&params->layer, x, bias, &added, hidden, state, y);
}
