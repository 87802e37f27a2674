/* weighted_sums.h: the sums of ../weighted_sums.h where the values of a row lie side by side, in vectors: two rows at a time. */
#ifndef KT_VECTOR_WEIGHTED_SUMS_H
#define KT_VECTOR_WEIGHTED_SUMS_H

#include "../../../product/vector/channels.h"

/* `width` channels, at most KT_CHANNEL_LANES. */
KT_INLINE void kt_weighted_block(const kt_rows *rows, const int8_t *row, const int8_t *weights, int32_t weight_offset, int32_t count,
                                 int32_t width, int32_t *sums)
{
    const kt_lanes offset = kt_shorts_of((int16_t)rows->offset), none = kt_no_lanes();
    kt_channel_words total = {none, none};
    int32_t all[KT_CHANNEL_LANES];
    int32_t j;
    for (j = 0; j < count; j += 2, row += 2 * rows->step[0]) {
        const int both = j + 1 < count;
        const kt_lanes pair = kt_splat(kt_pair_of(weights[j] + weight_offset, both ? weights[j + 1] + weight_offset : 0));
        const kt_channel_words values = kt_interleave(kt_with_offset(row, width, offset), both ? kt_with_offset(row + rows->step[0], width, offset) : none);
        const kt_channel_words factors = {pair, pair};
        kt_add_products_of(&total, &values, &factors);
    }
    kt_store_channel_words(all, total);
    memcpy(sums, all, (size_t)width * sizeof *sums);
}

static inline void kt_dense_weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels,
                                          int32_t *sums)
{
    int32_t c;
    for (c = 0; c + KT_CHANNEL_LANES <= channels; c += KT_CHANNEL_LANES) {
        kt_weighted_block(rows, rows->values + c, weights, weight_offset, count, KT_CHANNEL_LANES, sums + c);
    }
    if (c < channels) {
        kt_weighted_block(rows, rows->values + c, weights, weight_offset, count, channels - c, sums + c);
    }
}

#endif
