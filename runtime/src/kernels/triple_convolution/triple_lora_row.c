/* FULLY_CONNECTED of one row with LoRA, from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "../packed_convolution/lora_starts.h"
#include "triple_row.h"

static inline const int32_t *starts_of(const void *given, int32_t first, int32_t count, const int32_t *usual, int32_t *start, int32_t *epilogue)
{
    const kt_lora_layer *const lora = given;
    int32_t i;
    (void)epilogue;
    for (i = 0; i < count; i++) {
        start[i] = kt_any_start(lora, lora->u, first + i);
    }
    return usual + 3 * first;
}

KT_INLINE void run(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b, int32_t exponent,
                   int8_t *y, int32_t negative)
{
    const kt_packed_conv2d_params *const layer = &params->layer.layer;
    const kt_lora_layer lora = {&params->layer, bias, bias, u, b, exponent, 0, 0, NULL};
    kt_triple_row(&layer->window, layer->stream, layer->pairs, x, y, negative, starts_of, &lora);
}

/* Results of any sign. */
void kt_triple_lora_row_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    run(params, x, bias, u, b, *u_range + *b_exponent, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_lora_row_relu_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                                const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    run(params, x, bias, u, b, *u_range + *b_exponent, y, 0);
}
