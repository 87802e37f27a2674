/* row.h: the mean and the spread of a row of int8 values, in integers. */
#ifndef KT_NORMALIZATION_ROW_H
#define KT_NORMALIZATION_ROW_H

#include "kt/numerics.h"

#define FRACTION 8
/* Bits of the variance below depth^2 codes^2. */
#define NORMALIZED_BITS 20

/* sum of a row; root * 2^(-42 - halvings) = 1 / sqrt(2^FRACTION * depth^2 * (variance + epsilon)). */
typedef struct {
    int32_t sum;
    int32_t root;
    int32_t halvings;
} kt_row;

/* x / 2^n, ties towards plus infinity; n in [1, 62]. */
static inline int64_t shift_round_wide(int64_t x, int32_t n)
{
    return (x + (INT64_C(1) << (n - 1))) >> n;
}

/* 1 / sqrt(u) of u in [2^27, 2^29), in 2^-42: Newton and Raphson, five times. */
static inline int32_t inverse_root(int32_t u)
{
    const int32_t half = kt_divide_by_power(u >> 1, 1);
    int32_t y = INT32_C(1) << 28;
    int32_t i;
    for (i = 0; i < 5; i++) {
        const int32_t cube = kt_shift_left_saturated(kt_high_multiply(kt_high_multiply(y, y), y), 6);
        const int32_t difference = kt_high_multiply(INT32_C(3) << 27, y) - kt_high_multiply(half, cube);
        y = kt_shift_left_saturated(difference, 3);
    }
    return kt_high_multiply(y, INT32_C(1518500250));
}

/* epsilon: in the units of the variance. */
static inline kt_row row_of(const int8_t *x, int32_t depth, uint64_t epsilon)
{
    kt_row row = {0, 0, 0};
    uint32_t squares = 0;
    uint64_t spread;
    int32_t i;
    for (i = 0; i < depth; i++) {
        row.sum += x[i];
        squares += (uint32_t)(x[i] * x[i]);
    }
    spread = (uint64_t)squares * (uint32_t)depth - (uint64_t)((int64_t)row.sum * row.sum);
    spread = (spread << FRACTION) + epsilon;
    if (spread == 0) {
        spread = 1;
    }
    for (; spread >= UINT64_C(1) << 29; spread >>= 2) {
        row.halvings++;
    }
    for (; spread < UINT64_C(1) << 27; spread <<= 2) {
        row.halvings--;
    }
    row.root = inverse_root((int32_t)spread);
    return row;
}

/* (x - mean) / sqrt(variance + epsilon) in 2^-NORMALIZED_BITS. */
static inline int32_t normalized(const kt_row *row, int32_t depth, int32_t x)
{
    const int64_t distance = (int64_t)(depth * x - row->sum) * row->root;
    return (int32_t)shift_round_wide(distance, 42 - NORMALIZED_BITS - FRACTION / 2 + row->halvings);
}

#endif
