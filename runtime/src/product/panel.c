/* The columns of a panel. Where a window meets the border of the image, or is dilated, what lies outside is put in between. */
#include "panel.h"
#include "../kernels/window.h"

enum { ROW_PART = 32 };

/* A run of any length: a function of its own, for it is long and has many callers here. */
static __attribute__((noinline)) int32_t *fill_run(int32_t *word, const int8_t *x, int32_t length)
{
    return kt_fill_run(word, x, length);
}

/* Up to a whole part of a kernel row of which [first, end) lies inside the image. part: count bytes, in whole words. */
KT_INLINE void join_part(int8_t *part, const int8_t *x, int32_t first, int32_t end, int32_t count, int32_t outside)
{
    const uint32_t four = (uint8_t)outside * UINT32_C(0x01010101);
    int32_t i;
    for (i = 0; i < count; i += 4) {
        memcpy(part + i, &four, sizeof four);
    }
    for (i = first; i < end; i++) {
        part[i] = x[i];
    }
}

/* A row of so few values that a length which the compiler knows leaves no branches. */
KT_INLINE int32_t *fill_short(int32_t *word, const int8_t *x, int32_t first, int32_t end, int32_t length, int32_t outside)
{
    int8_t part[4];
    join_part(part, x, first, end, length, outside);
    return kt_fill_run(word, part, length);
}

/* One kernel row that is cut by the image's left or right border: its values [first, end) lie inside. */
static int32_t *fill_cut_row(int32_t *word, const int8_t *x, int32_t channels, int32_t first, int32_t end,
                                       int32_t length, int32_t outside)
{
    int32_t at;
    if ((channels & 3) == 0) {
        word = kt_fill_outside(word, outside, first / 2);
        word = fill_run(word, x + first, end - first);
        return kt_fill_outside(word, outside, (length - end) / 2);
    }
    /* Pairs may join both sides of the border: values are put together first. */
    if (length == 3) {
        return fill_short(word, x, first, end, 3, outside);
    }
    if (length == 4) {
        return fill_short(word, x, first, end, 4, outside);
    }
    for (at = 0; at < length; at += ROW_PART) {
        const int32_t count = kt_minimum(length - at, ROW_PART);
        const int32_t low = kt_clamp(first - at, 0, count), high = kt_clamp(end - at, 0, count);
        int8_t part[ROW_PART];
        join_part(part, x + at, low, high, count, outside);
        word = fill_run(word, part, count);
    }
    return word;
}

/* The column of a dilated window whose first tap is at (top, left). */
static void fill_dilated(const kt_window *window, int32_t *word, const int8_t *x, int32_t top, int32_t left,
                                   int32_t outside)
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
                word = fill_run(word, x + (y * width + at) * channels, channels);
            } else {
                word = kt_fill_outside(word, outside, kt_run_pairs(channels));
            }
        }
    }
}

/* The same of a window that the border cuts, or whose rows alone are dilated. */
static void fill_cut(const kt_window *window, int32_t *word, const int8_t *x, int32_t top, int32_t left,
                               int32_t outside)
{
    const int32_t channels = window->input[2];
    const int32_t width = window->input[1];
    const int32_t length = window->kernel[1] * channels;
    const int32_t first = kt_clamp(-left * channels, 0, length), end = kt_clamp((width - left) * channels, 0, length);
    int32_t ky, y = top;
    for (ky = window->kernel[0]; ky > 0; ky--, y += window->dilation[0]) {
        const int8_t *const row = x + (y * width + left) * channels;
        if (y < 0 || y >= window->input[0] || first >= end) {
            word = kt_fill_outside(word, outside, kt_run_pairs(length));
        } else if (end - first == length && length == 4) {
            word = kt_fill_run(word, row, 4);
        } else if (end - first == length) {
            word = fill_run(word, row, length);
        } else {
            word = fill_cut_row(word, row, channels, first, end, length, outside);
        }
    }
}

/* One column. Windows inside of the image need no care, but this takes them too. */
static void fill_column(const kt_window *window, int32_t outside, int32_t *word, const int8_t *x, kt_position at)
{
    const int32_t top = at.y * window->stride[0] - window->pad[0], left = at.x * window->stride[1] - window->pad[1];
    if (window->dilation[1] == 1) {
        fill_cut(window, word, x, top, left, outside);
    } else {
        fill_dilated(window, word, x, top, left, outside);
    }
}

/* `rows` kernel rows outside of the image, of both columns; length: values of a row. Returns the end. */
static __attribute__((noinline)) int32_t *fill_outside_rows(int32_t *word, int32_t outside, int32_t rows, int32_t length)
{
    int32_t *const end = word + 2 * rows * kt_run_pairs(length);
    const int32_t pair = kt_pair_of(outside, outside);
    while (word != end) {
        *word++ = pair;
    }
    return end;
}

/* Kernel rows inside the image, of both columns; next: values from row to row. A length that the compiler knows leaves no branches. Returns the end. */
KT_INLINE int32_t *fill_rows(int32_t *word, const int8_t *x, const int8_t *other, int32_t rows, int32_t length, int32_t next)
{
    const int32_t words = 2 * kt_run_pairs(length);
    for (; rows > 0; rows--, x += next, other += next, word += words) {
        kt_fill_runs(word, x, other, length);
    }
    return word;
}

/* Kernel rows inside the image, of both columns, by their length. Returns the end. */
static int32_t *fill_inside(int32_t *panel, const int8_t *row, int32_t apart, int32_t rows, int32_t length, int32_t next)
{
    const int8_t *const other = row + apart;
    switch (length) { /* 3 columns of one channel, 4 or 8 of one, 3 of three: first layers, whose rows are short */
    case 3: return fill_rows(panel, row, other, rows, 3, next);
    case 4: return fill_rows(panel, row, other, rows, 4, next);
    case 8: return fill_rows(panel, row, other, rows, 8, next);
    case 9: return fill_rows(panel, row, other, rows, 9, next);
    default: return fill_rows(panel, row, other, rows, length, next);
    }
}

void kt_begin_columns(kt_columns_walk *walk, const kt_window *window, int32_t outside, const int8_t *x, int32_t direction)
{
    const int32_t stride = window->stride[1], pad = window->pad[1], last = window->input[1] - window->kernel[1] + pad;
    const int dense = window->dilation[0] == 1 && window->dilation[1] == 1; /* taps that are apart are filled one by one */
    walk->window = window;
    walk->x = x;
    walk->outside = outside;
    walk->direction = direction;
    walk->at.y = kt_first(direction, window->output[0]);
    walk->at.x = kt_first(direction, window->output[1]);
    walk->inner = pad > 0 ? (pad + stride - 1) / stride : 0;
    walk->inner_count = dense && last >= 0 ? kt_minimum(last / stride + 1, window->output[1]) - walk->inner : 0;
}

/* To the next one of [height][width]. */
static void move_on(kt_columns_walk *walk)
{
    walk->at.x += walk->direction;
    if (!kt_within(walk->at.x, walk->window->output[1])) {
        walk->at.x = kt_first(walk->direction, walk->window->output[1]);
        walk->at.y += walk->direction;
    }
}

/* Both columns at once, of the next two positions of a row whose windows meet neither border on the left and right. */
static void fill_inner(const kt_columns_walk *walk, int32_t *panel)
{
    const kt_window *const window = walk->window;
    const int32_t channels = window->input[2], rows = window->kernel[0], length = window->kernel[1] * channels, next = window->input[1] * channels;
    const int32_t top = walk->at.y * window->stride[0] - window->pad[0], left = walk->at.x * window->stride[1] - window->pad[1];
    const int32_t from = kt_clamp(-top, 0, rows), inside = kt_clamp(window->input[0] - top, from, rows) - from;
    if (from > 0) {
        panel = fill_outside_rows(panel, walk->outside, from, length);
    }
    panel = fill_inside(panel, walk->x + (top + from) * next + left * channels, walk->direction * window->stride[1] * channels, inside, length, next);
    if (from + inside < rows) {
        (void)fill_outside_rows(panel, walk->outside, rows - from - inside, length);
    }
}

void kt_fill_columns(kt_columns_walk *walk, int32_t *panel, int32_t left)
{
    const int32_t at = walk->at.x - walk->inner;
    if (kt_within(at, walk->inner_count) && kt_within(at + walk->direction, walk->inner_count)) { /* so the first is not the last of its row */
        fill_inner(walk, panel);
        walk->at.x += walk->direction;
    } else {
        const kt_position first = walk->at;
        fill_column(walk->window, walk->outside, panel, walk->x, first);
        move_on(walk);
        fill_column(walk->window, walk->outside, panel + 1, walk->x, left > 1 ? walk->at : first);
    }
    move_on(walk);
}
