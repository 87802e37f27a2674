/* row.h: the mean and the spread of a row of int8 or int16 values, in integers. */
#ifndef KT_NORMALIZATION_ROW_H
#define KT_NORMALIZATION_ROW_H

#include <stddef.h>

#include "kt/kernels/normalization.h"
#include "kt/numerics.h"
#include "../../product/halves.h"

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

/* Of a row with this sum and sum of squares; epsilon: in the units of the variance. */
static inline kt_row row_with(int32_t sum, uint64_t squares, int32_t depth, uint64_t epsilon)
{
    kt_row row = {sum, 0, 0};
    uint64_t spread = squares * (uint32_t)depth - (uint64_t)((int64_t)sum * sum);
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

/* Rows of int8 or of int16 values; the other is NULL. */
typedef struct {
    const int8_t *narrow;
    const int16_t *wide;
} kt_row_values;

KT_INLINE int32_t value_of(kt_row_values x, int32_t i)
{
    return x.wide != NULL ? x.wide[i] : x.narrow[i];
}

/* The rows behind so many values. */
KT_INLINE kt_row_values values_behind(kt_row_values x, int32_t count)
{
    const kt_row_values rest = {x.wide != NULL ? NULL : x.narrow + count, x.wide != NULL ? x.wide + count : NULL};
    return rest;
}

KT_INLINE kt_row row_of(kt_row_values x, int32_t depth, uint64_t epsilon)
{
    int32_t sum = 0, i;
    uint64_t squares = 0;
    uint32_t few = 0; /* squares of int8 values fit into 32 bits */
    for (i = 0; i < depth; i++) {
        const int32_t value = value_of(x, i);
        sum += value;
        if (x.wide != NULL) {
            squares += (uint32_t)(value * value);
        } else {
            few += (uint32_t)(value * value);
        }
    }
    return row_with(sum, squares + few, depth, epsilon);
}

/* (x - mean) / sqrt(variance + epsilon) in 2^-NORMALIZED_BITS. */
static inline int32_t normalized(const kt_row *row, int32_t depth, int32_t x)
{
    const int64_t distance = (int64_t)(depth * x - row->sum) * row->root;
    return (int32_t)shift_round_wide(distance, 42 - NORMALIZED_BITS - FRACTION / 2 + row->halvings);
}

/* A value of a row normalised, times gamma, plus beta, as a code of the result. */
static inline int8_t scaled(const kt_layer_normalization_params *p, const kt_row *row, int32_t i, int32_t x, int32_t beta)
{
    const int64_t product = (int64_t)normalized(row, p->depth, x) * p->gamma[i];
    const int32_t sum = kt_add_saturated((int32_t)shift_round_wide(product, 15), beta);
    return kt_clamp_with_offset(kt_requantize(sum, p->multiplier, p->shift), p->output_offset, INT8_MIN, INT8_MAX);
}

#define COARSE_BITS 12
/* Of normalised values in the gradient. */

/* A normalised value in 2^-COARSE_BITS. */
static inline int32_t coarse(const kt_row *row, int32_t depth, int32_t x)
{
    return kt_shift_round(normalized(row, depth, x), NORMALIZED_BITS - COARSE_BITS);
}

/* An element of the gradient. h: that of the result times gamma; sum: of a row of them; product: of them times the normalised row; fraction: bits
 * that the units of the gradient have below those of an int8 row. */
static inline int8_t through_row(const kt_layer_normalization_gradient_params *p, const kt_row *row, int32_t h, int32_t sum, int64_t product,
                                 int32_t x, int32_t fraction)
{
    const int64_t along = shift_round_wide(product * coarse(row, p->depth, x), COARSE_BITS);
    const int64_t rest = ((int64_t)p->depth * h - sum - along) * row->root;
    return kt_saturate8(kt_shift_round(kt_saturate32(shift_round_wide(rest, 30 - fraction + row->halvings)), p->shift));
}

KT_INLINE void normalize_rows(const kt_layer_normalization_params *params, kt_row_values x, const int32_t *beta, int8_t *y)
{
    const kt_layer_normalization_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of(x, p.depth, epsilon);
        for (i = 0; i < p.depth; i++) {
            y[i] = scaled(&p, &row, i, value_of(x, i), beta[i]);
        }
        x = values_behind(x, p.depth);
        y += p.depth;
    }
}

/* fraction: as through_row. */
KT_INLINE void gradients_of_rows(const kt_layer_normalization_gradient_params *params, const int8_t *g, kt_row_values x, int8_t *dx, int32_t fraction)
{
    const kt_layer_normalization_gradient_params p = *params;
    const uint64_t epsilon = (uint64_t)p.epsilon << p.epsilon_shift;
    int32_t r, i;
    for (r = 0; r < p.rows; r++) {
        const kt_row row = row_of(x, p.depth, epsilon);
        int32_t sum = 0;
        int64_t product = 0;
        for (i = 0; i < p.depth; i++) {
            const int32_t h = g[i] * kt_shift_round(p.gamma[i], 8);
            sum += h;
            product += (int64_t)h * coarse(&row, p.depth, value_of(x, i));
        }
        product = shift_round_wide(product, COARSE_BITS);
        for (i = 0; i < p.depth; i++) {
            dx[i] = through_row(&p, &row, g[i] * kt_shift_round(p.gamma[i], 8), sum, product, value_of(x, i), fraction);
        }
        g += p.depth;
        x = values_behind(x, p.depth);
        dx += p.depth;
    }
}

#endif
