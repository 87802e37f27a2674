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

/* One kernel row that is cut by the image's left or right border; inside: [low, high) of the row's taps. */
static inline int32_t *kt_fill_cut_row(const kt_window *window, int32_t *word, const int8_t *x, int32_t low, int32_t high,
                                       int32_t outside, int32_t step)
{
    const int32_t channels = window->input[2];
    const int32_t taps = window->kernel[1];
    if ((channels & 3) == 0) {
        word = kt_fill_outside(word, outside, low * channels / 2, step);
        word = kt_fill_run(word, x + low * channels, (high - low) * channels, step);
        return kt_fill_outside(word, outside, (taps - high) * channels / 2, step);
    }
    /* Pairs may join both sides of the border: four values at a time are put together first. */
    {
        const int32_t length = taps * channels;
        int32_t at, i;
        for (at = 0; at < length; at += 4) {
            int8_t four[4] = {0, 0, 0, 0};
            const int32_t count = kt_minimum(length - at, 4);
            for (i = 0; i < count; i++) {
                four[i] = at + i >= low * channels && at + i < high * channels ? x[at + i] : (int8_t)outside;
            }
            word = kt_fill_run(word, four, count, step);
        }
    }
    return word;
}

/* The column of the window whose first tap is at (top, left), for windows that meet the border or are dilated. */
static inline void kt_fill_any(const kt_window *window, int32_t *word, const int8_t *x, int32_t top, int32_t left,
                               int32_t outside, int32_t step)
{
    const int32_t channels = window->input[2];
    const int32_t width = window->input[1];
    const int32_t taps = window->kernel[1];
    const int32_t dilation = window->dilation[1];
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[0]; ky++) {
        const int32_t y = top + ky * window->dilation[0];
        const int8_t *const row = x + (y * width + left) * channels;
        const int within = y >= 0 && y < window->input[0];
        if (dilation == 1) {
            const int32_t low = within ? kt_clamp(-left, 0, taps) : taps;
            const int32_t high = kt_clamp(width - left, low, taps);
            if (low == taps) {
                word = kt_fill_outside(word, outside, kt_run_pairs(taps * channels), step);
            } else {
                word = kt_fill_cut_row(window, word, row, low, high, outside, step);
            }
            continue;
        }
        for (kx = 0; kx < taps; kx++) {
            const int32_t at = left + kx * dilation;
            if (within && at >= 0 && at < width) {
                word = kt_fill_run(word, row + kx * dilation * channels, channels, step);
            } else {
                word = kt_fill_outside(word, outside, kt_run_pairs(channels), step);
            }
        }
    }
}

/* The column of the window at result position (oy, ox). */
KT_INLINE void kt_fill_column(const kt_window *window, int32_t *word, const int8_t *x, int32_t oy, int32_t ox,
                              int32_t outside, int32_t step)
{
    const int32_t top = oy * window->stride[0] - window->pad[0];
    const int32_t left = ox * window->stride[1] - window->pad[1];
    const int32_t length = window->kernel[1] * window->input[2];
    const int32_t width = window->input[1];
    if ((top | left) >= 0 && top + window->kernel[0] <= window->input[0] && left + window->kernel[1] <= width &&
        window->dilation[0] == 1 && window->dilation[1] == 1) {
        const int8_t *row = x + (top * width + left) * window->input[2];
        const int32_t next = width * window->input[2];
        int32_t ky;
        for (ky = window->kernel[0]; ky > 0; ky--, row += next) {
            word = kt_fill_run(word, row, length, step);
        }
    } else {
        kt_fill_any(window, word, x, top, left, outside, step);
    }
}

#endif
