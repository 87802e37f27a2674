/* panel.h: fills the panel of a product (product.h) with what lies under a window.
 *
 * A window's values are taken in runs, as far as they are neighbours in memory: a kernel row, or one tap where the window is dilated.
 * Four values make the pairs (0, 2) and (1, 3), which is what one load and two extensions give. The rest of a run makes one pair
 * (0, -) or (0, 1), or the two pairs (0, 2) and (1, -); "-" meets a weight of zero. */
#ifndef KT_PANEL_H
#define KT_PANEL_H

#include "halves.h"
#include "kt/kernels.h"
#include "kt/numerics.h"

KT_INLINE int32_t *kt_fill_run(int32_t *word, const int8_t *x, int32_t length, int32_t step)
{
    for (; length >= 16; length -= 16, x += 16, word += 8 * step) {
        kt_split_four(x, word, word + step);
        kt_split_four(x + 4, word + 2 * step, word + 3 * step);
        kt_split_four(x + 8, word + 4 * step, word + 5 * step);
        kt_split_four(x + 12, word + 6 * step, word + 7 * step);
    }
    for (; length >= 4; length -= 4, x += 4, word += 2 * step) {
        kt_split_four(x, word, word + step);
    }
    if (length > 0) {
        *word = kt_pair_of(x[0], length == 1 ? 0 : length == 2 ? x[1] : x[2]);
        word += step;
        if (length == 3) {
            *word = kt_pair_of(x[1], 0);
            word += step;
        }
    }
    return word;
}

KT_INLINE int32_t *kt_fill_outside(int32_t *word, int32_t value, int32_t pairs, int32_t step)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; pairs > 0; pairs--, word += step) {
        *word = pair;
    }
    return word;
}

/* Pairs of a run. */
KT_INLINE int32_t kt_run_pairs(int32_t length)
{
    return (length + 3) / 4 * 2 - ((length & 3) == 1 || (length & 3) == 2 ? 1 : 0);
}

enum { KT_ROW_PART = 32 };

/* Up to a whole part of a kernel row of which [first, end) lies inside the image. */
KT_INLINE int32_t *kt_fill_part(int32_t *word, const int8_t *x, int32_t first, int32_t end, int32_t count, int32_t outside,
                                int32_t step)
{
    int8_t part[KT_ROW_PART];
    int32_t i;
    memset(part, (int)outside, (size_t)count);
    for (i = first; i < end; i++) {
        part[i] = x[i];
    }
    return kt_fill_run(word, part, count, step);
}

/* One kernel row that is cut by the image's left or right border: its values [first, end) lie inside. */
static inline int32_t *kt_fill_cut_row(int32_t *word, const int8_t *x, int32_t channels, int32_t first, int32_t end,
                                       int32_t length, int32_t outside, int32_t step)
{
    int32_t at;
    if ((channels & 3) == 0) {
        word = kt_fill_outside(word, outside, first / 2, step);
        word = kt_fill_run(word, x + first, end - first, step);
        return kt_fill_outside(word, outside, (length - end) / 2, step);
    }
    /* Pairs may join both sides of the border: values are put together first. */
    if (length == 3) {
        return kt_fill_part(word, x, first, end, 3, outside, step);
    }
    if (length == 4) {
        return kt_fill_part(word, x, first, end, 4, outside, step);
    }
    for (at = 0; at < length; at += KT_ROW_PART) {
        const int32_t count = kt_minimum(length - at, KT_ROW_PART);
        const int32_t low = kt_clamp(first - at, 0, count), high = kt_clamp(end - at, 0, count);
        word = kt_fill_part(word, x + at, low, high, count, outside, step);
    }
    return word;
}

/* The column of a dilated window whose first tap is at (top, left). */
static inline void kt_fill_dilated(const kt_window *window, int32_t *word, const int8_t *x, int32_t top, int32_t left,
                                   int32_t outside, int32_t step)
{
    const int32_t channels = window->input[2];
    const int32_t width = window->input[1];
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[0]; ky++) {
        const int32_t y = top + ky * window->dilation[0];
        const int within = y >= 0 && y < window->input[0];
        for (kx = 0; kx < window->kernel[1]; kx++) {
            const int32_t at = left + kx * window->dilation[1];
            if (within && at >= 0 && at < width) {
                word = kt_fill_run(word, x + (y * width + at) * channels, channels, step);
            } else {
                word = kt_fill_outside(word, outside, kt_run_pairs(channels), step);
            }
        }
    }
}

/* The same of a window that the border cuts, or whose rows alone are dilated. */
static inline void kt_fill_cut(const kt_window *window, int32_t *word, const int8_t *x, int32_t top, int32_t left,
                               int32_t outside, int32_t step)
{
    const int32_t channels = window->input[2];
    const int32_t width = window->input[1];
    const int32_t length = window->kernel[1] * channels;
    const int32_t first = kt_clamp(-left * channels, 0, length), end = kt_clamp((width - left) * channels, 0, length);
    int32_t ky, y = top;
    for (ky = window->kernel[0]; ky > 0; ky--, y += window->dilation[0]) {
        const int8_t *const row = x + (y * width + left) * channels;
        if (y < 0 || y >= window->input[0] || first >= end) {
            word = kt_fill_outside(word, outside, kt_run_pairs(length), step);
        } else if (end - first == length) {
            word = kt_fill_run(word, row, length, step);
        } else {
            word = kt_fill_cut_row(word, row, channels, first, end, length, outside, step);
        }
    }
}

/* Kernel rows inside the image; next: values from row to row. A length that the caller knows leaves no branches. */
KT_INLINE void kt_fill_rows(int32_t *word, const int8_t *x, int32_t rows, int32_t length, int32_t next, int32_t step)
{
    for (; rows > 0; rows--, x += next) {
        word = kt_fill_run(word, x, length, step);
    }
}

/* The column of the window at result position (oy, ox). */
KT_INLINE void kt_fill_column(const kt_window *window, int32_t *word, const int8_t *x, int32_t oy, int32_t ox,
                              int32_t outside, int32_t step)
{
    const int32_t top = oy * window->stride[0] - window->pad[0];
    const int32_t left = ox * window->stride[1] - window->pad[1];
    const int32_t rows = window->kernel[0];
    const int32_t length = window->kernel[1] * window->input[2];
    const int32_t width = window->input[1];
    if ((top | left) >= 0 && top + rows <= window->input[0] && left + window->kernel[1] <= width &&
        window->dilation[0] == 1 && window->dilation[1] == 1) {
        const int8_t *const row = x + (top * width + left) * window->input[2];
        const int32_t next = width * window->input[2];
        if (length == 3) { /* 3 columns of one channel, 4 of one, 3 of three: first layers, whose rows are short */
            kt_fill_rows(word, row, rows, 3, next, step);
        } else if (length == 4) {
            kt_fill_rows(word, row, rows, 4, next, step);
        } else if (length == 9) {
            kt_fill_rows(word, row, rows, 9, next, step);
        } else {
            kt_fill_rows(word, row, rows, length, next, step);
        }
    } else if (window->dilation[1] == 1) {
        kt_fill_cut(window, word, x, top, left, outside, step);
    } else {
        kt_fill_dilated(window, word, x, top, left, outside, step);
    }
}

#endif
