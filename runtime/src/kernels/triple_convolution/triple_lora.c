/* CONV_2D and FULLY_CONNECTED with three sums in two words and LoRA, requantised in the product: what B u adds at a position is a part of what its
 * sums start from. */
#define KT_STARTS_OF_EACH 1
#include "kt/kernels/triple_convolution.h"
#include "../packed_convolution/lora_starts.h"
#include "triple_conv2d.h"
#include "triple_starts.h"

/* negative: what a negative sum takes from the addend. */
KT_INLINE void finish(const kt_triple_layer *layer, const kt_triple_block *block, int32_t negative)
{
    const int32_t channels = layer->window->output[KT_CHANNELS];
    int32_t starts[KT_MOST_CHANNELS * KT_POSITIONS], u[KT_CODE_WORDS];
    int32_t c, i;
    kt_block_codes(layer->lora, block, u);
    kt_triple_starts(layer->lora, block, u, block->channel, block->channels, starts);
    for (c = 0; c < block->channels; c++) {
        const int32_t *const epilogue = layer->epilogue + 3 * (block->channel + c);
        int8_t *result = layer->y + block->position * channels + block->channel + c;
        for (i = 0; i < block->positions; i++, result += block->direction * channels) {
            const int32_t sum = block->sums[KT_POSITIONS * c + i] + (starts[KT_POSITIONS * c + i] >> KT_START_BITS);
            *result = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

static void kt_finish_started_half_up(const void *layer, const kt_triple_block *block)
{
    finish(layer, block, 0);
}

static void kt_finish_started_away(const void *layer, const kt_triple_block *block)
{
    finish(layer, block, 128);
}

/* A function of its own, so that the other does without these words. */
static __attribute__((noinline)) void kt_started_on_stack(const kt_triple_layer *layer, const int8_t *x, int32_t outside, kt_finish_triple *finished)
{
    int32_t scratch[KT_STACK_PANEL];
    kt_triple_walk(layer, x, outside, kt_direction(x, layer->y), scratch, finished, layer);
}

static inline void run(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       int32_t exponent, int8_t *y, void *scratch, kt_triple_kernel *product, kt_finish_triple *finished)
{
    const kt_packed_conv2d_params *const layer = &params->layer.layer;
    kt_lora_layer lora = {&params->layer, bias, bias, u, b, exponent, 0, 0, NULL};
    const kt_triple_layer walked = {&layer->window, (const uint8_t *)layer->stream, layer->pairs, params->chunk, NULL,
                                    kt_triple_epilogue(layer->stream, layer->window.output[KT_CHANNELS], layer->pairs), y, product, &lora};
    if (scratch == NULL) {
        kt_started_on_stack(&walked, x, layer->outside, finished);
    } else {
        kt_triple_walk(&walked, x, layer->outside, kt_direction(x, y), scratch, finished, &walked);
    }
}

void kt_triple_lora_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch)
{
    run(params, x, bias, u, b, *u_range + *b_exponent, y, scratch, kt_triple_started_away, kt_finish_started_away);
}

void kt_triple_lora_relu_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                            const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch)
{
    run(params, x, bias, u, b, *u_range + *b_exponent, y, scratch, kt_triple_started_half_up, kt_finish_started_half_up);
}
