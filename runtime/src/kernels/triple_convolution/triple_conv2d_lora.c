/* CONV_2D and FULLY_CONNECTED with three sums in two words, with what a trained layer adds to the sums, or with a requantisation that has no
 * short form. */
#include "kt/kernels/triple_convolution.h"
#include "../packed_convolution/packed_trained.h"
#include "triple_conv2d.h"

typedef struct {
    const kt_trained_sums *trained;
    int8_t *y;
} kt_trained_results;

static void kt_finish_trained(const void *context, const kt_triple_block *block)
{
    const kt_trained_results *const results = context;
    const kt_trained_sums *const trained = results->trained;
    const kt_packed_conv2d_lora_params *const params = trained->params;
    int32_t c, i;
    for (c = block->channel; c < block->channel + block->channels; c++) {
        const int32_t *const sums = block->sums + KT_POSITIONS * (c - block->channel);
        int32_t position = block->position;
        for (i = 0; i < block->positions; i++, position += block->direction) {
            const int32_t total = kt_total_of(trained, sums[i] + params->fold[c], position, c);
            results->y[position * params->window.output[KT_CHANNELS] + c] = kt_result_of_total(params, total, c);
        }
    }
}

/* A function of its own, so that the other does without these words. */
static __attribute__((noinline)) void kt_trained_on_stack(const kt_triple_layer *layer, const int8_t *x, int32_t outside,
                                                          const kt_trained_results *results)
{
    int32_t scratch[KT_STACK_PANEL];
    kt_triple_walk(layer, x, outside, kt_direction(x, results->y), scratch, kt_finish_trained, results);
}

void kt_triple_conv2d_lora_s8(const kt_triple_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                              const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                              const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const kt_packed_conv2d_lora_params *const layer = &params->layer;
    const kt_trained_sums trained = kt_trained_sums_of(layer, bias, u, b, u_range, b_exponent, gain, gain_exponent);
    const kt_trained_results results = {&trained, y};
    const kt_triple_layer walked = {&layer->window, (const uint8_t *)layer->stream, layer->pairs, params->chunk, NULL, NULL, y, NULL};
    if (scratch == NULL) {
        kt_trained_on_stack(&walked, x, layer->outside, &results);
    } else {
        kt_triple_walk(&walked, x, layer->outside, kt_direction(x, y), scratch, kt_finish_trained, &results);
    }
}
