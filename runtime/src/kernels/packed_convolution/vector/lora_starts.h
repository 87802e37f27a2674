/* lora_starts.h: ../lora_starts.h in vectors of channels. B is laid out once a call as pairs of its columns, word [pair][channel], and behind them
 * the multipliers and shifts of all channels. */
#ifndef KT_VECTOR_LORA_STARTS_H
#define KT_VECTOR_LORA_STARTS_H

#include "../../../product/vector/words.h"
#include "../lora_starts.h"
#include "lora_pairs.h"

/* Fills pairs [KT_MOST_CODES]; leaves them NULL where they have too little room. */
static inline void kt_lay_pairs(kt_lora_layer *lora, int32_t *pairs)
{
    const int32_t channels = lora->params->layer.window.output[KT_CHANNELS], count = kt_rank_pairs(lora->params->rank);
    int32_t c;
    if ((count + KT_SCALE_WORDS) * channels > KT_MOST_CODES) {
        return;
    }
    lora->pairs = kt_pairs_of_b(lora->b, channels, lora->params->rank, pairs);
    for (c = 0; c < channels; c++) {
        pairs[count * channels + c] = lora->params->addend[KT_SCALE_WORDS * c];
        pairs[(count + 1) * channels + c] = kt_lora_shift(lora, c);
    }
}

/* KT_LANES channels of both positions, from channel c of the block on; their quads lie side by side. */
KT_INLINE void kt_start_lanes(const kt_lora_layer *lora, const kt_lora_block *block, int32_t c, int32_t u[2][KT_RANK_PAIRS], int32_t *starts)
{
    const int32_t channels = lora->params->layer.window.output[KT_CHANNELS], count = kt_rank_pairs(lora->params->rank);
    const int32_t *const pairs = lora->pairs + block->first + c, *const scales = pairs + count * channels;
    const kt_lanes start = kt_load_lanes(lora->start + block->first + c);
    const kt_lanes least = kt_splat(-lora->params->addend_limit), most = kt_splat(lora->params->addend_limit);
    int32_t position, i;
    for (position = 0; position < 2; position++) {
        int32_t words[KT_LANES];
        kt_lanes product = kt_no_lanes();
        for (i = 0; i < count; i++) {
            product = kt_add_pair_products(product, kt_load_lanes(pairs + i * channels), kt_splat(u[position][i]));
        }
        product = kt_requantize_lanes(product, kt_load_lanes(scales), kt_load_lanes(scales + channels));
        product = kt_add_lanes(start, kt_clamp_lanes(product, least, most));
        memcpy(words, &product, sizeof words);
        for (i = 0; i < KT_LANES; i += KT_QUAD) {
            memcpy(starts + kt_start_place(c + i) + KT_QUAD * position, words + i, KT_QUAD * sizeof *words);
        }
    }
}

static void kt_lora_starts(const kt_lora_layer *lora, const kt_lora_block *block, int32_t *starts)
{
    int32_t c = 0;
    if (lora->pairs != NULL) {
        const int32_t rank = lora->params->rank;
        int32_t u[2][KT_RANK_PAIRS];
        int32_t i;
        for (i = 0; i < kt_rank_pairs(rank); i++) {
            u[0][i] = kt_pair_of_codes(block->u[0], 2 * i, rank);
            u[1][i] = kt_pair_of_codes(block->u[1], 2 * i, rank);
        }
        for (; c + KT_LANES <= block->count; c += KT_LANES) {
            kt_start_lanes(lora, block, c, u, starts);
        }
    }
    kt_far_starts(lora, block, c, starts);
    kt_each_start(lora, block, c, block->count, 0, starts);
    kt_no_starts(block->count, starts);
}

#endif
