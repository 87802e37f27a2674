/* weighted_sums.h: the sum of rows, each times a weight. */
#ifndef KT_WEIGHTED_SUMS_H
#define KT_WEIGHTED_SUMS_H

#include <stdint.h>
#include <string.h>

#include "kt/architecture.h"
#include "matmul.h"

/* Rows of int8 values with an offset. step: elements from one row, and from one value of a row, to the next. */
typedef struct {
    const int8_t *values;
    int32_t step[2];
    int32_t offset;
} kt_rows;

#if KT_VECTOR
#include "vector/weighted_sums.h"
#endif

/* sums[c] += the sum over `count` rows, `step` apart, of (weight + weight_offset) value[c], c < 4. */
#if KT_DSP && !KT_MVE
#include "dsp/four_weighted.h"
#else
KT_ROW_PART void kt_add_four_weighted(const int8_t *row, int32_t step, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t *sums)
{
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    for (; count > 0; count--, row += step) {
        const int32_t weight = *weights++ + weight_offset;
        if (weight != 0) {
            s0 += weight * row[0];
            s1 += weight * row[1];
            s2 += weight * row[2];
            s3 += weight * row[3];
        }
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}
#endif

/* sums[c] = the sum over `count` rows of (weight + weight_offset) (value[c] + offset), c < channels. */
static inline void kt_weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const int8_t *row = rows->values;
    const int32_t whole = rows->step[1] == 1 ? channels & ~3 : 0;
    int32_t total = 0;
    int32_t j, c;
#if KT_VECTOR
    if (rows->step[1] == 1) {
        kt_dense_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
#endif
    for (j = 0; j < count && whole > 0 && rows->offset != 0; j++) { /* sum w (x + o) = sum w x + o sum w, exact at the end */
        total += weights[j] + weight_offset;
    }
    total = (int32_t)((uint32_t)total * (uint32_t)rows->offset);
    for (c = 0; c < whole; c += 4) {
        sums[c] = sums[c + 1] = sums[c + 2] = sums[c + 3] = total;
        kt_add_four_weighted(row + c, rows->step[0], weights, weight_offset, count, sums + c);
    }
    memset(sums + whole, 0, (size_t)(channels - whole) * sizeof *sums);
    for (j = 0; j < count && whole < channels; j++, row += rows->step[0]) {
        const int32_t weight = weights[j] + weight_offset;
        if (weight != 0) {
            for (c = whole; c < channels; c++) {
                sums[c] += weight * (row[c * rows->step[1]] + rows->offset);
            }
        }
    }
}

#endif
