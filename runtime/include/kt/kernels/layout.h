/* kt/kernels/layout.h: operators that move values. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_LAYOUT_H
#define KT_KERNELS_LAYOUT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* input, output: {height, width, channels}; pad: {top, left}. */
typedef struct {
    int32_t input[3];
    int32_t output[3];
    int32_t pad[2];
    int32_t value;
} kt_pad_params;

/* y = x with a border of `value`. */
void kt_pad_s8(const kt_pad_params *params, const int8_t *x, int8_t *y);

/* The same of int16 values with a border of 0; the channels of `input` and `output` count bytes. */
void kt_pad_s16(const kt_pad_params *params, const int16_t *x, int16_t *y);

/* dx = g without the border; `input` is the shape of dx, `output` that of g. */
void kt_pad_gradient_s8(const kt_pad_params *params, const int8_t *g, int8_t *dx);

/* offset, count: where the stripe begins and how many values it has; size: values of the image. */
typedef struct {
    int32_t offset;
    int32_t count;
    int32_t size;
} kt_write_rows_params;

/* y = x with y[offset + i] = part[i]; x NULL: the other values of y are left alone. In place on x. Values are bytes. */
void kt_write_rows_s8(const kt_write_rows_params *params, const void *part, const void *x, void *y);

/* output: shape of the result, four axes (1 in front where there are fewer); stride: elements of x from one index to
 * the next of each result axis. */
typedef struct {
    int32_t output[4];
    int32_t stride[4];
} kt_transpose_params;

void kt_transpose_s8(const kt_transpose_params *params, const int8_t *x, int8_t *y);

/* count: tokens; depth: values of a row; offset: what a code counts less than its row. */
typedef struct {
    int32_t count;
    int32_t depth;
    int32_t offset;
} kt_embedding_params;

/* y[i] = table[x[i] + offset], a row of depth values for each token. x: tokens that have rows. */
void kt_embedding_s8(const kt_embedding_params *params, const int8_t *x, const int8_t *table, int8_t *y);

/* A walk over up to eight axes, row by row; axes of extent 1 stand in front where there are fewer. from, to: elements of x and of y from one
 * index to the next of each axis, which may be negative; start: {in x, in y} of the first block; block: neighbouring values that are copied
 * together. filled: values of y that hold `value` before anything is copied. */
typedef struct {
    int32_t extent[8];
    int32_t from[8];
    int32_t to[8];
    int32_t start[2];
    int32_t block;
    int32_t filled;
    int32_t value;
} kt_move_params;

/* Slices, transpositions and paddings: the blocks of x to where they lie in y. */
void kt_move_s8(const kt_move_params *params, const int8_t *x, int8_t *y);

/* outer: positions in front of the axis that is joined; parts: operands; width: values of each behind every position. */
typedef struct {
    int32_t outer;
    int32_t parts;
    const int32_t *width;
} kt_concatenate_params;

/* y = the parts one behind the other, at each position. */
void kt_concatenate_s8(const kt_concatenate_params *params, const int8_t *const *x, int8_t *y);
void kt_concatenate_s16(const kt_concatenate_params *params, const int16_t *const *x, int16_t *y);

/* input, output: extents of two neighbouring axes of x and of y; outer: positions in front of them; block: values behind them. rows, columns:
 * for each index of y the index of x. */
typedef struct {
    int32_t outer;
    int32_t input[2];
    int32_t output[2];
    int32_t block;
    const int32_t *rows;
    const int32_t *columns;
} kt_gather_params;

/* y[o, r, c] = x[o, rows[r], columns[c]]. */
void kt_gather_s8(const kt_gather_params *params, const int8_t *x, int8_t *y);

/* size: values of x, or of dx. */
typedef struct {
    int32_t size;
    int32_t times;
} kt_repeat_params;

/* y[i * times + k] = x[i], k < times. y may lie over x: it is written value by value, forwards, or backwards where it lies above x. */
void kt_repeat_s8(const kt_repeat_params *params, const int8_t *x, int8_t *y);

typedef struct {
    int32_t size;
    int32_t times;
    int32_t shift;
} kt_repeat_gradient_params;

/* dx[i] = the sum over k of g[i * times + k], brought to eight bits by the shift, rounded half up. dx may lie over g, in the same way. */
void kt_repeat_gradient_s8(const kt_repeat_gradient_params *params, const int8_t *g, int8_t *dx);

/* As kt_gather_s8, each index of y between two of x: {lower, upper, weight of upper in 1/1024} for each row and column. */
typedef struct {
    int32_t outer;
    int32_t input[2];
    int32_t output[2];
    int32_t block;
    const int32_t *rows;
    const int32_t *columns;
} kt_resize_params;

/* y = the weighted sum of four values of x, rounded to nearest, ties away from zero. */
void kt_resize_bilinear_s8(const kt_resize_params *params, const int8_t *x, int8_t *y);

/* Transposed: input is that of dx, output that of g. rows, columns: for each index of dx {first, end} of its pairs in *_pairs, which are {index
 * of g, weight}; the product of two weights is shifted to the right, rounded half up, by weight_shift. */
typedef struct {
    int32_t outer;
    int32_t input[2];
    int32_t output[2];
    int32_t block;
    int32_t weight_shift;
    int32_t shift;
    const int32_t *rows;
    const int32_t *row_pairs;
    const int32_t *columns;
    const int32_t *column_pairs;
} kt_resample_gradient_params;

/* dx = the weighted sum of all that was made of each value of x, brought to eight bits. */
void kt_resample_gradient_s8(const kt_resample_gradient_params *params, const int8_t *g, int8_t *dx);

#ifdef __cplusplus
}
#endif

#endif
