/* packed_trained.h: what packed layers with trained sums share: the walk over panels, and the exact meaning of one channel.
 *
 * The product gives int32 sums of two positions, a block of channels at a time. They become totals (with what LoRA, a delta or a
 * gain adds, and the bias), then results, in two passes over the block, each of which has few enough values for the registers. */
#ifndef KT_PACKED_TRAINED_H
#define KT_PACKED_TRAINED_H

#include "kt/kernels/packed_convolution.h"
#include "../convolution/conv2d.h"
#include "packed_conv2d.h"

/* What training adds. u, b: NULL where there is no LoRA. */
typedef struct {
    const kt_packed_conv2d_lora_params *params;
    const int32_t *bias;
    const int8_t *u;
    const int8_t *b;
    int32_t exponent;
    kt_gain gain;
} kt_trained_sums;

/* Sums of `count` channels from `first` on, of two positions; the second's lie `stride` words behind the first's. One position alone
 * comes as twice the same, with stride 0. panel: what they are sums of. */
typedef struct {
    const int32_t *panel;
    int32_t *sums;
    int32_t stride;
    int32_t position[2];
    int32_t first, count;
} kt_sums_block;

/* The whole of one block: sums to results. */
typedef void kt_finish_block(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y);

/* sum_j b[j] * u[j] */
static inline int32_t kt_up_product(const int8_t *b, const int8_t *u, int32_t rank)
{
    int32_t sum = 0;
    for (; rank > 0; rank--) {
        sum += *b++ * *u++;
    }
    return sum;
}

/* An addend, within +-2^30: a right shift leaves no more. */
static inline int32_t kt_scaled_addend(int32_t x, int32_t multiplier, int32_t shift)
{
    return kt_clamp(kt_requantize(x, multiplier, shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

/* The total of channel c at a position; the sum of the product has 24 bits. */
static inline int32_t kt_total_of(const kt_trained_sums *trained, int32_t sum, int32_t position, int32_t c)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t rank = params->rank;
    int32_t addend = 0;
    if (trained->u != NULL) {
        const int32_t product = kt_up_product(trained->b + c * rank, trained->u + position * rank, rank);
        addend = kt_scaled_addend(product, params->addend_multiplier[c], params->addend_shift[c] + trained->exponent);
    }
    return kt_add_words(sum + addend, trained->bias[c]);
}

static inline int8_t kt_result_of_total(const kt_trained_sums *trained, int32_t total, int32_t c)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t scaled = kt_requantize_gained(total, params->multiplier[c], params->shift[c], &trained->gain, c);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

/* A block, one channel after the other. */
static inline void kt_finish_sums(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    int32_t i, c;
    for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
        const int32_t *const sums = block->sums + i * block->stride;
        int8_t *const result = y + block->position[i] * trained->params->window.output[KT_CHANNELS];
        for (c = block->first; c < block->first + block->count; c++) {
            const int32_t total = kt_total_of(trained, sums[c - block->first], block->position[i], c);
            result[c] = kt_result_of_total(trained, total, c);
        }
    }
}

/* One position, and another where `two`: a block of channels after the other. */
static inline void kt_finish_panel(const kt_trained_sums *trained, const int32_t *panel, int32_t position, int two, int32_t other,
                                   int8_t *y, kt_finish_block *finish)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t *stream = params->stream;
    int32_t sums[2 * KT_START_BLOCK];
    kt_sums_block block = {panel, sums, 0, {position, two ? other : position}, 0, 0};
    for (; block.first < channels; block.first += KT_START_BLOCK) {
        const int32_t count = kt_minimum(channels - block.first, KT_START_BLOCK);
        const int32_t padded = kt_padded_channels(count);
        block.count = count;
        block.stride = two ? KT_START_BLOCK : 0;
        kt_product_sums(sums, 4 * block.stride, sums + padded, params->fold + block.first, panel, params->pairs, stream);
        stream += padded / KT_QUAD * 2 * params->pairs;
        finish(trained, &block, y);
    }
}

/* One copy of the code that fills a column: what this kernel adds to the sums costs more than a call. */
static __attribute__((noinline)) void kt_fill_position(const kt_packed_conv2d_lora_params *params, int32_t *word, const int8_t *x,
                                                       kt_position at)
{
    kt_fill_column(&params->window, params->outside, word, x, at.y, at.x);
}

static inline void kt_packed_trained_walk(const kt_trained_sums *trained, const int8_t *x, int8_t *y, int32_t *panel,
                                          kt_finish_block *finish)
{
    const kt_window *const window = &trained->params->window;
    const int32_t direction = kt_direction(x, y);
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    kt_position at = {kt_first(direction, window->output[KT_Y]), kt_first(direction, window->output[KT_X])};
    int32_t position = at.y * window->output[KT_X] + at.x;
    for (; left > 0; left -= 2, position += 2 * direction) {
        int32_t i;
        for (i = 0; i < kt_minimum(left, 2); i++) {
            kt_fill_position(trained->params, panel + i, x, at);
            kt_next_position(window, direction, &at);
        }
        kt_finish_panel(trained, panel, position, left > 1, position + direction, y, finish);
    }
}

static inline kt_trained_sums kt_trained_sums_of(const kt_packed_conv2d_lora_params *params, const int32_t *bias, const int8_t *u,
                                                 const int8_t *b, const int8_t *u_range, const int8_t *b_exponent,
                                                 const int8_t *gain, const int8_t *gain_exponent)
{
    kt_trained_sums trained = {params, bias, u, b, 0, kt_gain_of(gain, gain_exponent)};
    if (u != NULL) {
        trained.exponent = *u_range + *b_exponent;
    }
    return trained;
}

#endif
