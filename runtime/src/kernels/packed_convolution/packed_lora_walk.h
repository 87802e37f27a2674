/* packed_lora_walk.h: layers with LoRA, two positions at a time: what B u adds at a position is a part of what its sums start from. */
#ifndef KT_PACKED_LORA_WALK_H
#define KT_PACKED_LORA_WALK_H

#define KT_STARTS_OF_EACH 1
#include "packed_conv2d.h"
#include "packed_lora.h"

/* A layer, and the same as kt_packed_results takes a block of its channels. */
typedef struct {
    kt_lora_layer lora;
    kt_packed_conv2d_params part;
    kt_product_kernel *product;
} started_layer;

/* All channels at two neighbouring positions, or one alone, whose values the panel holds. */
static inline void finish_panel(started_layer *layer, const int32_t *panel, int32_t position, int32_t step, int8_t *y)
{
    const kt_packed_lora_params *const params = layer->lora.params;
    const int32_t channels = params->layer.window.output[KT_CHANNELS], words = 2 * params->layer.pairs + KT_EPILOGUE;
    const int8_t *const u = layer->lora.u + position * params->rank;
    int32_t starts[2 * KT_STARTED_CHANNELS];
    kt_lora_block block = {{u, u + step * params->rank}, 0, 0};
    y += position * channels;
    for (; block.first < channels; block.first += KT_STARTED_CHANNELS) {
        block.count = kt_minimum(channels - block.first, KT_STARTED_CHANNELS);
        kt_lora_starts(&layer->lora, &block, starts);
        layer->part.window.output[KT_CHANNELS] = block.count;
        layer->part.stream = params->layer.stream + block.first / KT_QUAD * words;
        kt_packed_results(&layer->part, starts, panel, y + block.first, step * channels, layer->product);
    }
}

static void walk(started_layer *layer, const int8_t *x, int32_t *panel, int8_t *y)
{
    const kt_packed_conv2d_params *const params = &layer->lora.params->layer;
    const kt_window *const window = &params->window;
    const int32_t direction = kt_direction(x, y), depth = window->input[KT_CHANNELS], pointwise = kt_is_pointwise(window);
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    int32_t position = kt_first(direction, left);
    kt_columns_walk columns;
    kt_begin_columns(&columns, window, params->outside, x, direction);
    for (; left > 0; left -= 2, position += 2 * direction) {
        if (!pointwise) {
            kt_fill_columns(&columns, panel, left);
        } else {
            const int8_t *const run = x + position * depth;
            kt_fill_runs(panel, run, left > 1 ? run + direction * depth : run, depth); /* of the last position alone both are the same */
        }
        finish_panel(layer, panel, position, left > 1 ? direction : 0, y);
    }
}

static __attribute__((noinline)) void kt_run_lora(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                                  const int8_t *b, int32_t exponent, int8_t *y, int32_t *panel, kt_product_kernel *product)
{
    const kt_packed_conv2d_params *const part = &params->layer;
    started_layer layer = {{params, bias, kt_start_of(part, bias, panel + 2 * part->pairs), u, b, exponent, 0, 0, NULL}, *part, product};
#if KT_VECTOR
    int32_t pairs[KT_MOST_CODES];
    kt_lay_pairs(&layer.lora, pairs);
#endif
    kt_find_far(&layer.lora);
    walk(&layer, x, panel, y);
}

#endif
