/* CONV_2D and FULLY_CONNECTED with three sums in two words, with what a trained layer adds to the sums, or with a requantisation that has no
 * short form. */
#include "kt/kernels/triple_convolution.h"
#include "../packed_convolution/packed_trained.h"
#include "triple_conv2d.h"

typedef struct {
    const kt_trained_sums *trained;
    int8_t *y;
} kt_trained_results;

/* kt_requantize; mostly to the right. */
KT_INLINE int32_t kt_requantize_mostly_right(int32_t x, int32_t multiplier, int32_t shift)
{
    return shift < 0 && shift >= -31 ? kt_requantize_right(x, multiplier, -shift) : kt_requantize(x, multiplier, shift);
}

/* Sums of one channel, without a gain; u: of the first position. */
KT_INLINE void kt_finish_channel(const kt_trained_sums *trained, const int32_t *sums, const kt_triple_block *block, int32_t c, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t rank = params->rank, bias = trained->bias[c], fold = params->fold[c];
    const int32_t multiplier = params->multiplier[c], shift = params->shift[c], zero_point = params->output_offset;
    const int32_t low = params->clamp[0] - zero_point, high = params->clamp[1] - zero_point;
    const int8_t *u = trained->u + block->position * rank;
    int32_t i;
    for (i = 0; i < block->positions; i++, u += block->direction * rank, y += block->direction * params->window.output[KT_CHANNELS]) {
        int32_t addend = 0;
        if (trained->u != NULL) {
            const int32_t product = kt_up_product(trained->b + c * rank, u, rank);
            addend = kt_requantize_mostly_right(product, params->addend_multiplier[c], params->addend_shift[c] + trained->exponent);
            addend = kt_clamp(addend, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
        }
        addend = kt_requantize_mostly_right(kt_add_words(sums[i] + fold + addend, bias), multiplier, shift);
        *y = (int8_t)(kt_clamp(addend, low, high) + zero_point);
    }
}

static void kt_finish_trained(const void *context, const kt_triple_block *block)
{
    const kt_trained_results *const results = context;
    const kt_trained_sums *const trained = results->trained;
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c, i;
    for (c = block->channel; c < block->channel + block->channels; c++) {
        const int32_t *const sums = block->sums + KT_POSITIONS * (c - block->channel);
        int32_t position = block->position;
        if (trained->gain.codes == NULL) {
            kt_finish_channel(trained, sums, block, c, results->y + position * channels + c);
            continue;
        }
        for (i = 0; i < block->positions; i++, position += block->direction) {
            const int32_t total = kt_total_of(trained, sums[i] + params->fold[c], position, c);
            results->y[position * channels + c] = kt_result_of_total(trained, total, c);
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
