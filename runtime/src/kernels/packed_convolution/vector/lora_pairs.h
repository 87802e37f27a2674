/* lora_pairs.h: B of LoRA as pairs of its columns, for vectors of channels: word [pair][channel]. */
#ifndef KT_VECTOR_LORA_PAIRS_H
#define KT_VECTOR_LORA_PAIRS_H

#include "../../../product/halves.h"

enum { KT_RANK_PAIRS = 8, KT_MOST_CODES = 4096 /* words */ };

static inline int32_t kt_rank_pairs(int32_t rank)
{
    return (rank + 1) / 2;
}

/* Two neighbouring codes of a row of B or of u, of which the second may not exist. */
KT_INLINE int32_t kt_pair_of_codes(const int8_t *row, int32_t j, int32_t rank)
{
    return kt_pair_of(row[j], j + 1 < rank ? row[j + 1] : 0);
}

/* Fills pairs [KT_MOST_CODES]; returns them, or NULL where they have too little room. */
static inline const int32_t *kt_pairs_of_b(const int8_t *b, int32_t channels, int32_t rank, int32_t *pairs)
{
    const int32_t count = kt_rank_pairs(rank);
    int32_t c, i;
    if (count > KT_RANK_PAIRS || count * channels > KT_MOST_CODES) {
        return NULL;
    }
    for (c = 0; c < channels; c++) {
        for (i = 0; i < count; i++) {
            pairs[i * channels + c] = kt_pair_of_codes(b + c * rank, 2 * i, rank);
        }
    }
    return pairs;
}

#endif
