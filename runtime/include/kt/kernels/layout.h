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

/* dx = g without the border; `input` is the shape of dx, `output` that of g. */
void kt_pad_gradient_s8(const kt_pad_params *params, const int8_t *g, int8_t *dx);

/* offset, count: where the stripe begins and how many values it has; size: values of the image. */
typedef struct {
    int32_t offset;
    int32_t count;
    int32_t size;
} kt_write_rows_params;

/* y = x with y[offset + i] = part[i]; x NULL: the other values of y are left alone. In place on x. */
void kt_write_rows_s8(const kt_write_rows_params *params, const int8_t *part, const int8_t *x, int8_t *y);

/* output: shape of the result, four axes (1 in front where there are fewer); stride: elements of x from one index to
 * the next of each result axis. */
typedef struct {
    int32_t output[4];
    int32_t stride[4];
} kt_transpose_params;

void kt_transpose_s8(const kt_transpose_params *params, const int8_t *x, int8_t *y);

#ifdef __cplusplus
}
#endif

#endif
