/* Gradient of LoRA's inner tensor in stripes of rows: the largest sum of all stripes first, then the rows. */
#include <stddef.h>

#include "lora_inner_gradient.h"

void kt_lora_inner_peak(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, const int32_t *before, int32_t *peak)
{
    int32_t largest = before == NULL ? 0 : *before;
    int32_t position, j;
    for (position = 0; position < params->positions; position++) {
        for (j = 0; j < params->rank; j++) {
            const int32_t magnitude = (int32_t)kt_magnitude(kt_lora_product(g, b + j, params->channels, params->rank));
            largest = kt_maximum(largest, magnitude);
        }
        g += params->channels;
    }
    *peak = largest;
}

void kt_lora_inner_rows_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, const int32_t *peak, int8_t *du)
{
    const int32_t shift = kt_fitting_shift((uint32_t)*peak);
    int32_t position, j;
    for (position = 0; position < params->positions; position++) {
        for (j = 0; j < params->rank; j++) {
            *du++ = kt_saturate8(kt_shift_round(kt_lora_product(g, b + j, params->channels, params->rank), shift));
        }
        g += params->channels;
    }
}

void kt_lora_inner_exponent(const int32_t *peak, const int8_t *b_exponent, int8_t *du_exponent)
{
    *du_exponent = (int8_t)kt_minimum(*b_exponent + kt_fitting_shift((uint32_t)*peak), 127);
}
