/* column_sums.h: sums over positions of a gradient, or of its products with what stands beside it, channel by channel. */
#ifndef KT_VECTOR_COLUMN_SUMS_H
#define KT_VECTOR_COLUMN_SUMS_H

#include <stddef.h>

#include "channels.h"

/* sums[c] of `count` channels, at most KT_CHANNEL_LANES: of g[p, c] * (y[p, c] + offset) over all positions, or of g[p, c] where y is NULL.
 * sums has KT_CHANNEL_LANES words. */
KT_INLINE void kt_columns_of_count(const int8_t *g, const int8_t *y, int32_t offset, int32_t channels, int32_t positions, int32_t count,
                                   int32_t *sums)
{
    const kt_lanes none = kt_no_lanes(), one = kt_shorts_of(1), zero_point = kt_shorts_of((int16_t)offset);
    const kt_channel_words ones = kt_interleave(one, one);
    kt_channel_words total = {none, none};
    int32_t p;
    for (p = 0; p < positions; p += 2, g += 2 * channels) {
        const int both = p + 1 < positions;
        const kt_channel_words pair = kt_interleave(kt_widen_some(g, count), both ? kt_widen_some(g + channels, count) : none);
        if (y == NULL) {
            kt_add_products_of(&total, &pair, &ones);
        } else {
            const kt_lanes first = kt_with_offset(y, count, zero_point);
            const kt_channel_words values = kt_interleave(first, both ? kt_with_offset(y + channels, count, zero_point) : none);
            kt_add_products_of(&total, &pair, &values);
            y += 2 * channels;
        }
    }
    kt_store_channel_words(sums, total);
}

KT_INLINE void kt_column_sums(const int8_t *g, const int8_t *y, int32_t offset, int32_t channels, int32_t positions, int32_t count,
                              int32_t *sums)
{
    if (count == KT_CHANNEL_LANES) {
        kt_columns_of_count(g, y, offset, channels, positions, KT_CHANNEL_LANES, sums);
    } else {
        kt_columns_of_count(g, y, offset, channels, positions, count, sums);
    }
}

#endif
