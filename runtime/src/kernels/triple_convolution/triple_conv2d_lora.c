/* CONV_2D and FULLY_CONNECTED with three sums in two words, with what a trained layer adds to the sums, or with a requantisation that has no
 * short form. */
#include "kt/kernels/triple_convolution.h"
#include "../packed_convolution/packed_trained.h"
#include "triple_conv2d.h"

typedef struct {
    const kt_trained_sums *trained;
    int8_t *y;
} kt_trained_results;

enum { KT_LARGEST_BIAS = 1 << 29, KT_USUAL_RANK = 4, KT_MOST_RANK = 512, KT_LEAST_MULTIPLIER = 1 << 30, KT_MOST_DOWN = 14 };

/* What one channel needs where no step can saturate: both shifts go to the right, and the bias is within +-2^29. */
typedef struct {
    int32_t start; /* the bias, with the share of the input's zero point */
    int32_t multiplier, down;
    int32_t addend_multiplier, addend_down;
} kt_trained_channel;

static int kt_is_usual(const kt_trained_sums *trained, int32_t c, kt_trained_channel *channel)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t bias = trained->bias[c];
    channel->start = (int32_t)((uint32_t)bias + (uint32_t)params->fold[c]);
    channel->multiplier = params->multiplier[c];
    channel->down = -params->shift[c];
    channel->addend_multiplier = channel->addend_down = 1;
    if (trained->u != NULL) {
        channel->addend_multiplier = params->addend_multiplier[c];
        channel->addend_down = -(params->addend_shift[c] + trained->exponent);
    }
    return trained->gain.codes == NULL && bias >= -KT_LARGEST_BIAS && bias <= KT_LARGEST_BIAS && channel->down > 0 && channel->down < 32 &&
           channel->addend_down > 0 && channel->addend_down < 32 && params->rank <= KT_MOST_RANK;
}

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

/* Whether the short form of a requantisation (product.h) holds for sums that are limited to 24 bits: at the limit a result is beyond int8. */
static inline int kt_has_short_form(const kt_packed_conv2d_lora_params *params, const kt_trained_channel *channel)
{
    return params->clamp[0] == -128 && params->clamp[1] == 127 && channel->multiplier >= KT_LEAST_MULTIPLIER && channel->down <= KT_MOST_DOWN;
}

/* Results of totals. */
static inline void kt_finish_usual(const kt_packed_conv2d_lora_params *params, const kt_trained_channel *channel, const int32_t *totals,
                                   int32_t positions, int32_t step, int8_t *y)
{
    const int32_t multiplier = channel->multiplier, down = channel->down, zero_point = params->output_offset;
    const int32_t *const end = totals + positions;
    if (kt_has_short_form(params, channel)) {
        const int32_t addend = 64 + (INT32_C(64) << down) + zero_point * (INT32_C(128) << down);
        for (; totals != end; y += step) {
            const int32_t total = kt_clamp(*totals++, -(INT32_C(1) << 23), (INT32_C(1) << 23) - 1);
            *y = kt_short_requantize(total, multiplier, addend + (total >> 31) * 128, down + 7);
        }
    } else {
        const int32_t low = params->clamp[0] - zero_point, high = params->clamp[1] - zero_point;
        for (; totals != end; y += step) {
            *y = (int8_t)(kt_clamp(kt_requantize_right(*totals++, multiplier, down), low, high) + zero_point);
        }
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
        if (kt_is_usual(trained, c, &channel)) {
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
