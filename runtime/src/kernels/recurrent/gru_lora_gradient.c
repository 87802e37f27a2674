/* Gradient of a GRU with LoRA through time. */
#include "gru_gradient.h"

void kt_gru_lora_gradient_s8(const kt_gru_lora_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias,
                             const int8_t *u, const int8_t *b, const int8_t *b_exponent, const int8_t *u_range, int8_t *dz, int32_t *scratch)
{
    const gru_addend added = {&params->lora, u, b, *b_exponent + *u_range, scratch};
    const sequence s = {x, y, bias, &added};
    gru_gradient(&params->gradient, g, &s, dz, scratch + GATES * params->gradient.layer.units);
}
