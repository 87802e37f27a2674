/* packed_delta_row.h: FULLY_CONNECTED of one row from packed weights with a trainable delta: a block of channels after the other, whose sums lie on
 * the stack. The row and the delta are read where they lie. */
#ifndef KT_PACKED_DELTA_ROW_H
#define KT_PACKED_DELTA_ROW_H

#include "packed_conv2d_delta.h"

/* Adds to a block's sums what the delta gives of the row x. */
typedef void kt_add_delta_row(const kt_trained_delta *delta, const kt_sums_block *block, const int8_t *x);

KT_INLINE void kt_run_delta_row(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                const int8_t *delta_exponent, int8_t *y, kt_add_delta_row *add, kt_finish_block *finish)
{
    const kt_packed_conv2d_lora_params *const layer = &params->layer;
    const kt_trained_delta trained = kt_trained_delta_of(params, bias, delta, delta_exponent);
    const int32_t channels = layer->window.output[KT_CHANNELS];
    const int32_t *stream = layer->stream;
    int32_t sums[KT_START_BLOCK];
    kt_sums_block block = {NULL, sums, 0, {0, 0}, 0, 0};
    for (; block.first < channels; block.first += KT_START_BLOCK) {
        const int32_t count = kt_minimum(channels - block.first, KT_START_BLOCK), padded = kt_padded_channels(count);
        block.count = count;
        kt_product_row_sums(sums, 0, sums + padded, layer->fold + block.first, x, layer->pairs, stream);
        stream += padded / KT_QUAD * 2 * layer->pairs;
        add(&trained, &block, x);
        finish(&trained.trained, &block, y);
    }
}

#endif
