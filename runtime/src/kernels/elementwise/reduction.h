/* reduction.h: gradients of an operand, summed where it was stretched. */
#ifndef KT_REDUCTION_H
#define KT_REDUCTION_H

#include "broadcast.h"
#include "kt/numerics.h"

/* One product into its sum, or requantised where it is alone. */
static inline void kt_reduce(int32_t product, int32_t shift, int32_t at, int8_t *result, int32_t *sums)
{
    if (sums != NULL) {
        sums[at] += product;
    } else {
        result[at] = kt_saturate8(kt_shift_round(product, shift));
    }
}

static inline void kt_clear_sums(int32_t *sums, int32_t size)
{
    if (sums != NULL) {
        memset(sums, 0, (size_t)size * sizeof *sums);
    }
}

static inline void kt_finish_sums(const int32_t *sums, int32_t size, int32_t shift, int8_t *result)
{
    int32_t i;
    for (i = 0; sums != NULL && i < size; i++) {
        result[i] = kt_saturate8(kt_shift_round(sums[i], shift));
    }
}

#endif
