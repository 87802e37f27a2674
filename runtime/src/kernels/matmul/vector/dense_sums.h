/* dense_sums.h: the sum of ../matmul.h where the values of both operands lie side by side, in vectors. */
#ifndef KT_VECTOR_DENSE_SUMS_H
#define KT_VECTOR_DENSE_SUMS_H

#include "../../../product/vector/channels.h"

/* Values with their offsets are at most 255 in size: their products, and the sums of two, are exact. */
static inline int32_t kt_dense_sum(const kt_matmul *p, const int8_t *x, const int8_t *other)
{
    const kt_lanes left = kt_shorts_of((int16_t)p->offset[0]), right = kt_shorts_of((int16_t)p->offset[1]);
    const int32_t depth = p->depth[1];
    kt_lanes sums = kt_no_lanes();
    int32_t sum = 0, i, j;
    for (i = 0; i < p->depth[0]; i++) {
        const int8_t *const a = x + i * p->x[2], *const b = other + i * p->other[2];
        for (j = 0; j + KT_CHANNEL_LANES <= depth; j += KT_CHANNEL_LANES) {
            const kt_lanes values = kt_with_offset(a + j, KT_CHANNEL_LANES, left);
            sums = kt_add_pair_products(sums, values, kt_with_offset(b + j, KT_CHANNEL_LANES, right));
        }
        for (; j < depth; j++) {
            sum += (a[j] + p->offset[0]) * (b[j] + p->offset[1]);
        }
    }
    return sum + kt_sum_of(sums);
}

/* The same of four columns that follow one another; depth[0] is 1. */
static inline void kt_dense_sums(const kt_matmul *p, const int8_t *x, const int8_t *other, int32_t found[4])
{
    const kt_lanes left = kt_shorts_of((int16_t)p->offset[0]), right = kt_shorts_of((int16_t)p->offset[1]);
    const int32_t depth = p->depth[1], whole = depth / KT_CHANNEL_LANES * KT_CHANNEL_LANES;
    kt_lanes sums[4] = {kt_no_lanes(), kt_no_lanes(), kt_no_lanes(), kt_no_lanes()};
    kt_four_lanes added;
    int32_t c, j;
    for (j = 0; j < whole; j += KT_CHANNEL_LANES) {
        const kt_lanes values = kt_with_offset(x + j, KT_CHANNEL_LANES, left);
        for (c = 0; c < 4; c++) {
            sums[c] = kt_add_pair_products(sums[c], values, kt_with_offset(other + c * p->other[1] + j, KT_CHANNEL_LANES, right));
        }
    }
    added = kt_added_up(sums[0], sums[1], sums[2], sums[3]);
    memcpy(found, &added, sizeof added);
    for (; j < depth; j++) {
        for (c = 0; c < 4; c++) {
            found[c] += (x[j] + p->offset[0]) * (other[c * p->other[1] + j] + p->offset[1]);
        }
    }
}

#endif
