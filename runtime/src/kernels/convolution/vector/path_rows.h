/* path_rows.h: four rows of weights times a code each, in vectors. */
#ifndef KT_VECTOR_PATH_ROWS_H
#define KT_VECTOR_PATH_ROWS_H

#include "../../../product/vector/channels.h"

/* row[k] += the sum over four c of g[c] * weights[c * step + k], of the largest multiple of the lanes; returns how many. */
KT_INLINE int32_t kt_add_rows_of_lanes(int32_t *row, const int8_t *weights, int32_t step, const int8_t *g, int32_t count)
{
    const int8_t *const w1 = weights + step, *const w2 = w1 + step, *const w3 = w2 + step;
    int32_t k;
#if KT_SINGLE_PLACES
    const kt_lanes factor[4] = {kt_shorts_of(g[0]), kt_shorts_of(g[1]), kt_shorts_of(g[2]), kt_shorts_of(g[3])};
#else
    const kt_lanes first = kt_splat(kt_pair_of(g[0], g[1])), second = kt_splat(kt_pair_of(g[2], g[3]));
    const kt_channel_words factor[2] = {{first, first}, {second, second}};
#endif
    for (k = 0; k + KT_CHANNEL_LANES <= count; k += KT_CHANNEL_LANES) {
        kt_channel_words sums = kt_load_channels(row + k);
        const kt_lanes a = kt_widen_channels(weights + k), b = kt_widen_channels(w1 + k);
        const kt_lanes c = kt_widen_channels(w2 + k), d = kt_widen_channels(w3 + k);
#if KT_SINGLE_PLACES
        kt_add_single_products(&sums, a, factor[0]);
        kt_add_single_products(&sums, b, factor[1]);
        kt_add_single_products(&sums, c, factor[2]);
        kt_add_single_products(&sums, d, factor[3]);
#else
        const kt_channel_words ab = kt_interleave(a, b), cd = kt_interleave(c, d);
        kt_add_products_of(&sums, &ab, &factor[0]);
        kt_add_products_of(&sums, &cd, &factor[1]);
#endif
        kt_store_channel_words(row + k, sums);
    }
    return k;
}

#endif
