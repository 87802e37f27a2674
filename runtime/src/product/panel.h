/* panel.h: fills the panel of a product (product.h) with what lies under a window.
 *
 * A window's values are taken in runs, as far as they are neighbours in memory: a kernel row, or one tap where the window is dilated.
 * Four values make the pairs (0, 2) and (1, 3), which is what one load and two extensions give. The rest of a run makes one pair
 * (0, -) or (0, 1), or the two pairs (0, 2) and (1, -); "-" meets a weight of zero. Words of one column lie two apart. */
#ifndef KT_PANEL_H
#define KT_PANEL_H

#include "halves.h"
#include "kt/kernels/window.h"
#include "kt/numerics.h"

KT_INLINE int32_t *kt_fill_run(int32_t *word, const int8_t *x, int32_t length)
{
    for (; length >= 16; length -= 16, x += 16, word += 16) {
        kt_split_four(x, word, word + 2);
        kt_split_four(x + 4, word + 4, word + 6);
        kt_split_four(x + 8, word + 8, word + 10);
        kt_split_four(x + 12, word + 12, word + 14);
    }
    for (; length >= 4; length -= 4, x += 4, word += 4) {
        kt_split_four(x, word, word + 2);
    }
    if (length > 0) {
        *word = kt_pair_of(x[0], length == 1 ? 0 : length == 2 ? x[1] : x[2]);
        word += 2;
        if (length == 3) {
            *word = kt_pair_of(x[1], 0);
            word += 2;
        }
    }
    return word;
}

KT_INLINE int32_t *kt_fill_outside(int32_t *word, int32_t value, int32_t pairs)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; pairs > 0; pairs--, word += 2) {
        *word = pair;
    }
    return word;
}

/* Pairs of a run. */
KT_INLINE int32_t kt_run_pairs(int32_t length)
{
    return (length + 3) / 4 * 2 - ((length & 3) == 1 || (length & 3) == 2 ? 1 : 0);
}

/* The column of the window whose first tap is at (top, left), for windows that meet the border or are dilated. */
void kt_fill_border(const kt_window *window, int32_t outside, int32_t *word, const int8_t *x, int32_t top, int32_t left);

/* Kernel rows inside the image; next: values from row to row. A length that the caller knows leaves no branches. */
KT_INLINE void kt_fill_rows(int32_t *word, const int8_t *x, int32_t rows, int32_t length, int32_t next)
{
    for (; rows > 0; rows--, x += next) {
        word = kt_fill_run(word, x, length);
    }
}

/* One column of a panel: what lies under the window at result position (oy, ox). A function of its own, for it is long. */
static __attribute__((noinline, unused)) void kt_fill_column(const kt_window *window, int32_t outside, int32_t *word, const int8_t *x, int32_t oy,
                                                             int32_t ox)
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
            kt_fill_rows(word, row, rows, 3, next);
        } else if (length == 4) {
            kt_fill_rows(word, row, rows, 4, next);
        } else if (length == 9) {
            kt_fill_rows(word, row, rows, 9, next);
        } else {
            kt_fill_rows(word, row, rows, length, next);
        }
    } else {
        kt_fill_border(window, outside, word, x, top, left);
    }
}

#endif
