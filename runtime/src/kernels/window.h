/* window.h: the geometry of sliding windows, shared by convolutions, pools and their gradients.
 *
 * Along one axis a window at result index o covers input indices o * stride - pad + tap * dilation, tap in
 * [0, kernel). Those inside the input are always neighbouring taps, so that the part of a window that meets the
 * input (a patch) is a rectangle of taps and kernels never test a border inside their loops. */
#ifndef KT_WINDOW_H
#define KT_WINDOW_H

#include "kt/kernels/window.h"
#include "kt/numerics.h"

enum { KT_Y = 0, KT_X = 1, KT_CHANNELS = 2 };

/* A result may lie over an operand that dies with the step, if it stays behind the reading (the compiler places it so).
 * As memmove does, a kernel walks its result positions forwards, and backwards where the result lies above the operand:
 *
 *     for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) */
static inline int32_t kt_direction(const void *operand, const void *result)
{
    return (uintptr_t)result > (uintptr_t)operand ? -1 : 1;
}

static inline int32_t kt_first(int32_t direction, int32_t count)
{
    return direction > 0 ? 0 : count - 1;
}

static inline int kt_within(int32_t index, int32_t count)
{
    return index >= 0 && index < count;
}

/* Whether every position reads its own values and nothing else. */
static inline int kt_is_pointwise(const kt_window *window)
{
    return window->kernel[KT_Y] == 1 && window->kernel[KT_X] == 1 && window->stride[KT_Y] == 1 && window->stride[KT_X] == 1 &&
           window->pad[KT_Y] == 0 && window->pad[KT_X] == 0 && window->input[KT_Y] == window->output[KT_Y] &&
           window->input[KT_X] == window->output[KT_X];
}

/* Neighbouring taps inside the input: number of the first, how many, input index of the first. */
typedef struct {
    int32_t first;
    int32_t count;
    int32_t index;
} kt_taps;

/* a / b rounded up, a >= 0; b is almost always 1, and a division is slow on the smallest cores. */
static inline int32_t kt_divide_up(int32_t a, int32_t b)
{
    return b == 1 ? a : (a + b - 1) / b;
}

/* The taps of a window at result index `output` of an axis; all 0 where the window lies outside the input. */
static inline kt_taps kt_taps_at(const kt_window *window, int axis, int32_t output)
{
    const int32_t dilation = window->dilation[axis];
    const int32_t start = output * window->stride[axis] - window->pad[axis];
    const int32_t left = kt_maximum(window->input[axis] - start, 0);
    const int32_t end = kt_minimum(window->kernel[axis], kt_divide_up(left, dilation));
    kt_taps taps = {0, 0, 0};
    const int32_t first = start < 0 ? kt_divide_up(-start, dilation) : 0;
    if (first < end) {
        taps.first = first;
        taps.count = end - first;
        taps.index = start + first * dilation;
    }
    return taps;
}

/* The result index whose window meets input index `input` with this tap; -1 where there is none. */
static inline int32_t kt_output_at(const kt_window *window, int axis, int32_t input, int32_t tap)
{
    const int32_t stride = window->stride[axis];
    const int32_t distance = input + window->pad[axis] - tap * window->dilation[axis];
    int32_t output = distance;
    if (distance < 0) {
        return -1;
    }
    if (stride != 1) {
        output = distance / stride;
        if (output * stride != distance) {
            return -1;
        }
    }
    return output < window->output[axis] ? output : -1;
}

/* The results [first, end) of an axis whose windows have this tap inside the input. */
static inline void kt_outputs_of(const kt_window *window, int axis, int32_t tap, int32_t *first, int32_t *end)
{
    const int32_t start = tap * window->dilation[axis] - window->pad[axis];
    const int32_t stride = window->stride[axis];
    const int32_t left = kt_divide_up(kt_maximum(window->input[axis] - start, 0), stride);
    *first = start < 0 ? kt_divide_up(-start, stride) : 0;
    *end = kt_minimum(left, window->output[axis]);
}

/* Indices of an axis, border included, that all windows together meet. */
static inline int32_t kt_reach_of(const kt_window *window, int axis)
{
    return (window->output[axis] - 1) * window->stride[axis] + (window->kernel[axis] - 1) * window->dilation[axis] + 1;
}

/* One patch as offsets of int8 values in the image x [H][W][C] and in one kernel w [KH][KW][C].
 * It has `rows` rows of `spans` spans of `length` neighbouring values; without dilation a row is one span. */
typedef struct {
    int32_t x, w;                  /* first value */
    int32_t rows, row_x, row_w;    /* count, and steps from row to row */
    int32_t spans, span_x, span_w; /* the same from span to span */
    int32_t length;
} kt_patch;

static inline kt_patch kt_patch_of(const kt_window *window, kt_taps rows, kt_taps columns)
{
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t dilation = window->dilation[KT_X];
    kt_patch patch;
    patch.row_x = window->input[KT_X] * channels;
    patch.row_w = window->kernel[KT_X] * channels;
    patch.x = rows.index * patch.row_x + columns.index * channels;
    patch.w = rows.first * patch.row_w + columns.first * channels;
    patch.row_x *= window->dilation[KT_Y];
    patch.rows = columns.count > 0 ? rows.count : 0;
    patch.spans = dilation == 1 ? 1 : columns.count;
    patch.span_x = dilation * channels;
    patch.span_w = channels;
    patch.length = dilation == 1 ? columns.count * channels : channels;
    return patch;
}

/* Values in one kernel: KH * KW * C. */
static inline int32_t kt_kernel_size(const kt_window *window)
{
    return window->kernel[KT_Y] * window->kernel[KT_X] * window->input[KT_CHANNELS];
}

#if defined(KT_VECTOR) && KT_VECTOR
#include "vector/patch.h"
#else
/* sum w * (x + offset) over a patch; w points to the kernel's first value. */
static inline int32_t kt_patch_dot(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t offset)
{
    const int32_t length = patch->length;
    int32_t sum = 0;
    int32_t row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = 0; i < length; i++) {
                sum += weights[i] * (values[i] + offset);
            }
        }
    }
    return sum;
}

/* The products of value i with four kernels. */
#define KT_DOT4(i) \
    do { \
        const int32_t value = values[i] + offset; \
        sum0 += w0[i] * value; \
        sum1 += w1[i] * value; \
        sum2 += w2[i] * value; \
        sum3 += w3[i] * value; \
    } while (0)

/* Four kernels at once, `size` values apart: each input value is loaded once. */
static inline void kt_patch_dot4(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset,
                                 int32_t sums[4])
{
    const int32_t length = patch->length;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *w0 = w + (patch->w + row * patch->row_w + span * patch->span_w);
            const int8_t *w1 = w0 + size;
            const int8_t *w2 = w1 + size;
            const int8_t *w3 = w2 + size;
            for (i = length; i >= 4; i -= 4, values += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
                KT_DOT4(0);
                KT_DOT4(1);
                KT_DOT4(2);
                KT_DOT4(3);
            }
            for (; i > 0; i--, values++, w0++, w1++, w2++, w3++) {
                KT_DOT4(0);
            }
        }
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

/* The sums of up to four kernels from w on; returns how many: kernels are taken in fours, the rest singly. */
static inline int32_t kt_patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left,
                                    int32_t offset, int32_t sums[4])
{
    if (left >= 4) {
        kt_patch_dot4(patch, x, w, size, offset, sums);
        return 4;
    }
    sums[0] = kt_patch_dot(patch, x, w, offset);
    return 1;
}

#endif
