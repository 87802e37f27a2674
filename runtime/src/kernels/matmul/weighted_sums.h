/* weighted_sums.h: the sum of rows, each times a weight, in portable C. */
#ifndef KT_WEIGHTED_SUMS_H
#define KT_WEIGHTED_SUMS_H

#include <stdint.h>
#include <string.h>

/* Rows of int8 values with an offset. step: elements from one row, and from one value of a row, to the next. */
typedef struct {
    const int8_t *values;
    int32_t step[2];
    int32_t offset;
} kt_rows;

#if defined(KT_VECTOR) && KT_VECTOR
#include "vector/weighted_sums.h"
#endif

/* sums[c] = the sum over `count` rows of (weight + weight_offset) (value[c] + offset), c < channels. */
static inline void kt_weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const int8_t *row = rows->values;
    int32_t j, c;
#if defined(KT_VECTOR) && KT_VECTOR
    if (rows->step[1] == 1) {
        kt_dense_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
#endif
    memset(sums, 0, (size_t)channels * sizeof *sums);
    for (j = 0; j < count; j++, row += rows->step[0]) {
        const int32_t weight = weights[j] + weight_offset;
        if (weight != 0) {
            for (c = 0; c < channels; c++) {
                sums[c] += weight * (row[c * rows->step[1]] + rows->offset);
            }
        }
    }
}

#endif
