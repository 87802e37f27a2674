/* GRU with LoRA beside the weights of its input. */
#include "gru_gates.h"

void kt_gru_lora_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                    const int8_t *b_exponent, const int8_t *u_range, int8_t *y, int32_t *scratch)
{
    const gru_addend added = {&params->lora, u, b, *b_exponent + *u_range, scratch};
    gru_walk(&params->layer, x, bias, &added, y, (int16_t *)(scratch + GATES * params->layer.units));
}
