/* packed_lora_row.h: one row of a fully connected layer with LoRA: it is read where it lies, and each block of channels is a layer of its own, whose
 * starts lie on the stack. */
#ifndef KT_PACKED_LORA_ROW_H
#define KT_PACKED_LORA_ROW_H

#include "packed_conv2d.h"
#include "packed_lora.h"

/* Channels [first, first + count) of a layer. */
static kt_packed_lora_params kt_lora_block_of(const kt_packed_lora_params *params, int32_t first, int32_t count)
{
    kt_packed_lora_params block = *params;
    block.layer.window.output[KT_CHANNELS] = count;
    block.layer.fold = params->layer.fold == NULL ? NULL : params->layer.fold + first;
    block.layer.stream += first / KT_QUAD * (2 * params->layer.pairs + KT_EPILOGUE);
    block.addend += KT_SCALE_WORDS * first;
    return block;
}

static __attribute__((noinline)) void kt_run_lora_block(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                                const int8_t *b, int32_t exponent, int8_t *y, kt_product_kernel *product)
{
    const int32_t count = params->layer.window.output[KT_CHANNELS];
    const kt_lora_block block = {{u, u}, 0, count};
    int32_t start[KT_STARTED_CHANNELS], starts[2 * KT_STARTED_CHANNELS];
    kt_lora_layer lora = {params, bias, kt_start_of(&params->layer, bias, start), u, b, exponent, 0, 0, NULL};
    int32_t c;
#if KT_VECTOR
    int32_t pairs[KT_MOST_CODES];
    kt_lay_pairs(&lora, pairs);
#endif
    kt_find_far(&lora);
    kt_lora_starts(&lora, &block, starts);
    for (c = KT_QUAD; c < count; c += KT_QUAD) { /* those of the second position, which is none, go */
        memcpy(starts + c, starts + 2 * c, KT_QUAD * sizeof *starts);
    }
    kt_packed_results(&params->layer, starts, x, y, 0, product);
}

KT_INLINE void kt_run_lora_row(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       int32_t exponent, int8_t *y, kt_product_kernel *product)
{
    const int32_t channels = params->layer.window.output[KT_CHANNELS];
    int32_t first;
    for (first = 0; first < channels; first += KT_STARTED_CHANNELS) {
        const kt_packed_lora_params block = kt_lora_block_of(params, first, kt_minimum(channels - first, KT_STARTED_CHANNELS));
        kt_run_lora_block(&block, x, bias + first, u, b + first * params->rank, exponent, y + first, product);
    }
}

#endif
