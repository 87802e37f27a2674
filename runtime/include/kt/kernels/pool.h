/* kt/kernels/pool.h: pools, MEAN and their gradients. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_POOL_H
#define KT_KERNELS_POOL_H

#include "kt/kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    kt_window window;
    int32_t clamp[2];
} kt_pool2d_params;

/* y = clamp(mean of the elements under the window and inside the input), rounded half away from zero. */
void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y);

/* y = clamp(largest element under the window and inside the input). */
void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y);

/* The same of int16 values; the elements under a window are fewer than 65535. */
void kt_average_pool2d_s16(const kt_pool2d_params *params, const int16_t *x, int16_t *y);
void kt_max_pool2d_s16(const kt_pool2d_params *params, const int16_t *x, int16_t *y);

/* smallest_count: elements inside the input under the window that has fewest of them (average pool only). */
typedef struct {
    kt_window window;
    int32_t smallest_count;
    int32_t shift;
} kt_pool2d_gradient_params;

/* dx = saturate8(shift_round(sum of g * m over the windows that cover x, shift)),
 * m = round(2^15 * smallest_count / elements of that window). */
void kt_average_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, int8_t *dx);

/* dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)). scratch: NULL where no windows share an
 * element, or the columns of as many rows of windows as cover a row of the input, times up to 8 channels, are 512 at most; else 2 bytes for each. */
void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, void *scratch);

typedef struct {
    int32_t positions;
    int32_t channels;
} kt_channel_sums_params;

/* sums[c] = before[c] + sum_p x[p, c], before NULL: from 0. In place on before. */
void kt_channel_sums_s8(const kt_channel_sums_params *params, const int8_t *x, const int32_t *before, int32_t *sums);

/* count: elements that each sum is of. clamp: the range of y. */
typedef struct {
    int32_t channels;
    int32_t count;
    int32_t clamp[2];
} kt_average_of_sums_params;

/* y[c] = clamp(sums[c] / count), rounded half away from zero. */
void kt_average_of_sums(const kt_average_of_sums_params *params, const int32_t *sums, int8_t *y);

/* extent: the tensor as {outer, count, inner}; the middle axis is reduced. */
typedef struct {
    int32_t extent[3];
    int32_t input_offset;
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
} kt_mean_params;

/* y[o, i] = saturate(requantize(sum_n (x[o, n, i] + input_offset)) + output_offset), in [-128, 127]; the multiplier
 * holds s_x / (s_y * count). Rounds twice. */
void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y);

/* dx[o, n, i] = g[o, i]; nothing is rounded, the scale of dx absorbs 1 / count. Uses extent only. */
void kt_mean_gradient_s8(const kt_mean_params *params, const int8_t *g, int8_t *dx);

#ifdef __cplusplus
}
#endif

#endif
