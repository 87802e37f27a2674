/* CONV_2D and FULLY_CONNECTED with three sums in two words, with what a trained layer adds to the sums, or with a requantisation that has no
 * short form. */
#include "kt/kernels/triple_convolution.h"
#include "triple_trained.h"

enum { KT_USUAL_RANK = 4 };

/* Totals of one channel; rank: of the inner tensor, 0 where there is none, known to the compiler where it is usual. */
KT_INLINE void kt_usual_totals(const kt_trained_sums *trained, const kt_trained_channel *channel, const int32_t *sums,
                               const kt_triple_block *block, int32_t c, int32_t rank, int32_t *totals)
{
    const int32_t start = channel->start, multiplier = channel->addend_multiplier, down = channel->addend_down;
    const int32_t *const end = totals + block->positions;
    const int8_t *const b = trained->b + c * rank;
    const int8_t *u = trained->u + block->position * rank;
    const int32_t next = block->direction * rank;
    int32_t j;
    if (rank == KT_USUAL_RANK) {
        const int32_t b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3];
        for (; totals != end; u += next) {
            *totals++ = *sums++ + start + kt_short_share(b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3], multiplier, down);
        }
        return;
    }
    for (; totals != end; u += next) {
        int32_t product = 0;
        for (j = 0; j < rank; j++) {
            product += b[j] * u[j];
        }
        *totals++ = *sums++ + start + (rank > 0 ? kt_short_share(product, multiplier, down) : 0);
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
        kt_trained_channel channel;
        if (kt_is_usual(trained, c, trained->u != NULL, &channel)) {
            int32_t totals[KT_POSITIONS];
            if (trained->u == NULL) {
                kt_usual_totals(trained, &channel, sums, block, c, 0, totals);
            } else if (params->rank == KT_USUAL_RANK) {
                kt_usual_totals(trained, &channel, sums, block, c, KT_USUAL_RANK, totals);
            } else {
                kt_usual_totals(trained, &channel, sums, block, c, params->rank, totals);
            }
            kt_finish_usual(params, &channel, totals, block->positions, block->direction * channels, results->y + position * channels + c);
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
                              const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y,
                              void *scratch)
{
    const kt_packed_conv2d_lora_params *const layer = &params->layer;
    const kt_trained_sums trained = kt_trained_sums_of(layer, bias, u, b, u_range, b_exponent);
    const kt_trained_results results = {&trained, y};
    const kt_triple_layer walked = {&layer->window, (const uint8_t *)layer->stream, layer->pairs, params->chunk, NULL, NULL, y, NULL};
    if (scratch == NULL) {
        kt_trained_on_stack(&walked, x, layer->outside, &results);
    } else {
        kt_triple_walk(&walked, x, layer->outside, kt_direction(x, y), scratch, kt_finish_trained, &results);
    }
}
