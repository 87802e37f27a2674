/* packed_trained_walk.h: the walk over panels of packed layers with trained sums.
 *
 * The product gives int32 sums of two positions, a block of channels at a time. They become totals (with what LoRA or a
 * delta adds, and the bias), then results, in two passes over the block, each of which has few enough values for the registers. */
#ifndef KT_PACKED_TRAINED_WALK_H
#define KT_PACKED_TRAINED_WALK_H

#include "packed_conv2d.h"
#include "packed_trained.h"

/* One position, and another where `two`: a block of channels after the other. product: of paired words, or of exact ones. */
KT_INLINE void kt_finish_panel(const kt_trained_sums *trained, const int32_t *panel, int32_t position, int two, int32_t other, int8_t *y,
                               kt_product_kernel *product, kt_finish_block *finish)
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
        product(sums, 4 * block.stride, sums + padded, params->fold + block.first, panel, params->pairs, stream);
        stream += padded / KT_QUAD * 2 * params->pairs;
        finish(trained, &block, y);
    }
}

KT_INLINE void kt_packed_trained_walk(const kt_trained_sums *trained, const int8_t *x, int8_t *y, int32_t *panel, kt_product_kernel *product,
                                      kt_finish_block *finish)
{
    const kt_window *const window = &trained->params->window;
    const int32_t direction = kt_direction(x, y);
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    int32_t position = kt_first(direction, left);
    kt_columns_walk columns;
    kt_begin_columns(&columns, window, trained->params->outside, x, direction);
    for (; left > 0; left -= 2, position += 2 * direction) {
        kt_fill_columns(&columns, panel, left);
        kt_finish_panel(trained, panel, position, left > 1, position + direction, y, product, finish);
    }
}

/* The same of one row of a fully connected layer, which is read where it lies: it takes the panel's place. */
KT_INLINE void kt_packed_trained_row(const kt_trained_sums *trained, const int8_t *x, int8_t *y, int32_t *none, kt_product_kernel *product,
                                     kt_finish_block *finish)
{
    const void *const row = x;
    (void)none;
    kt_finish_panel(trained, row, 0, 0, 0, y, product, finish);
}

/* What makes the sums of a layer, and results of them. */
typedef void kt_trained_walk(const kt_trained_sums *trained, const int8_t *x, int8_t *y, int32_t *panel, kt_product_kernel *product,
                             kt_finish_block *finish);

#endif
