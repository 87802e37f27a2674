/* short_blocks.h: what kernels of a build for size share: sums and results of a block of channels, each by one function for all kernels. */
#ifndef KT_SHORT_BLOCKS_H
#define KT_SHORT_BLOCKS_H

#include "../kernels/patch.h"
#include "kt/architecture.h"

#ifdef KT_SMALL
/* result[k] = saturate8(shift_round(sums[k], shift)) */
void kt_round_block(const int32_t *sums, int32_t shift, int32_t count, int8_t *result);

enum {
    KT_SHORT_BLOCK = 32,      /* channels, whose sums lie on the stack */
    KT_GATHERED_VALUES = 64   /* of a window whose values are laid in a row first */
};

/* How sums become codes: requantised by factors of each channel, none below 0, offset and limited. */
typedef struct {
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t offset;
    const int32_t *clamp;
} kt_results;

static inline kt_results kt_results_of(const int32_t *multiplier, const int8_t *shift, int32_t offset, const int32_t clamp[2])
{
    kt_results results;
    results.multiplier = multiplier;
    results.shift = shift;
    results.offset = offset;
    results.clamp = clamp;
    return results;
}

/* sums[i] = sum over the patch of w[i * size + .] * (x + offset), of `count` kernels. */
void kt_sum_patch(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset, int32_t count, int32_t *sums);

/* The sums of up to four kernels from w on; returns how many. */
static inline int32_t kt_patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left, int32_t offset,
                                    int32_t sums[4])
{
    const int32_t count = kt_minimum(left, 4);
    kt_sum_patch(patch, x, w, size, offset, count, sums);
    return count;
}

/* Lays a window of several pieces, or with border, in a row: *patch is then its only one, and the result where its values lie. row has
 * KT_GATHERED_VALUES; windows of more values stay where they are. */
const int8_t *kt_gather_patch(kt_patch *patch, const int8_t *x, int32_t size, int32_t offset, int8_t *row);

/* y[i] = clamp(requantize(saturate32(sums[i] + bias[i]), multiplier[i], shift[i]) + offset) of `count` channels from `first` on; bias and y
 * point to the first of all. */
void kt_finish_block(const kt_results *results, const int32_t *sums, const int32_t *bias, int32_t first, int32_t count, int8_t *y);

#else
/* result[k] = saturate8(shift_round(sums[k], shift)) */
static inline void kt_round_block(const int32_t *sums, int32_t shift, int32_t count, int8_t *result)
{
    int32_t k = 0;
#if KT_VECTOR
    for (; shift > 0 && shift < 32 && k + KT_LANES <= count; k += KT_LANES) {
        kt_store_narrow(result + k, kt_round_lanes((kt_word_lanes)kt_load_lanes(sums + k), shift));
    }
#endif
    for (; k < count; k++) {
        result[k] = kt_saturate8(kt_shift_round(sums[k], shift));
    }
}
#endif

#endif
