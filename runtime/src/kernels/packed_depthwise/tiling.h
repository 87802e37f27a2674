/* tiling.h: bands of rows for kernels that go by tiles of two by two results (tiled_depthwise.h).
 *
 * Four channels of a band stand unzipped in a buffer (unzipped_columns.h), in the order of bands and channels of banded_depthwise.h. The weights that
 * tiles meet are made from a stream for four channels at a time.
 *
 * Windows of one row are lines, each of which is a band: a tile has four neighbouring results of it, as if two and the next two were one below the
 * other. Windows of one column are such lines down the image. */
#ifndef KT_TILING_H
#define KT_TILING_H

#include "../view.h"
#include "tiled_depthwise.h"

/* Results of windows over x with a stride of 1 or 2. The image of results may be a part of a larger one, as every second of its rows and columns.
 *
 * lines: whether its rows are lines. stream: of the taps, as kt_packed_depthwise_params has it, `quad_words` for four channels; first_tap, tap_step,
 * row_step: words of it to the first tap of a window, from one tap to the next and from one kernel row to the next; tap_rows: kernel rows that have
 * taps, where others multiply by 0; times: bits by which weights are shifted. starts: of the sums, `start_step` words from channel to channel and
 * `start_quad_step` from four to four, which count as times `unit`; epilogues: what results end with, likewise. scaling: of x, or NULL. rows: of a
 * band, even. */
typedef struct {
    kt_view view;
    int32_t outside, rows;
    int lines;
    const int32_t *stream;
    int32_t quad_words, first_tap, tap_step, row_step, tap_rows, times;
    const int32_t *starts, *epilogues;
    int32_t start_step, start_quad_step, epilogue_step, epilogue_quad_step, unit;
    const kt_scaling *scaling;
} kt_tiling;

static inline void kt_exchange(int32_t *a, int32_t *b)
{
    const int32_t value = *a;
    *a = *b;
    *b = value;
}

static inline int kt_has_lines(const kt_window *window)
{
    return window->kernel[KT_Y] == 1 || window->kernel[KT_X] == 1;
}

/* Makes lines of rows, or `down` the image of columns, which are exchanged with rows. Across lines there is no border; a stride there is one of x. */
static void kt_make_lines(kt_tiling *t, int down)
{
    kt_window *const window = &t->view.window;
    if (down) {
        kt_exchange(&window->input[KT_Y], &window->input[KT_X]);
        kt_exchange(&window->output[KT_Y], &window->output[KT_X]);
        kt_exchange(&window->kernel[KT_Y], &window->kernel[KT_X]);
        kt_exchange(&window->stride[KT_Y], &window->stride[KT_X]);
        kt_exchange(&window->pad[KT_Y], &window->pad[KT_X]);
        kt_exchange(&t->view.x_line, &t->view.x_next);
        kt_exchange(&t->view.line, &t->view.next);
        kt_exchange(&t->tap_step, &t->row_step);
    }
    t->lines = 1;
    t->tap_rows = t->rows = 1;
    t->view.x_line *= window->stride[KT_Y];
    window->stride[KT_Y] = 1;
    window->input[KT_Y] = window->output[KT_Y];
}

/* Where a tiling works. */
typedef struct {
    kt_columns columns;
    int32_t pairs;        /* words of a row under two neighbouring windows */
    int32_t inputs;       /* rows of the buffer */
    int32_t *weights;     /* of four channels, [4][pairs][kernel rows][2] */
    kt_band_words *words; /* [columns][inputs] */
} kt_tile_buffer;

/* Four channels from c on, of which those from `first` on are written. starts, epilogues: of the first of the four. */
typedef struct {
    const int32_t *starts, *epilogues;
    int32_t c, first, end;
    kt_scaling scaling;
} kt_tiled_quad;

/* Fills the rows of the buffer from `done` on, of which the first is row `top` of x. */
typedef void kt_tile_filling(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done);

/* One row of the image under all windows, of fewer than four channels. */
static inline void kt_unzip_few(const kt_tiling *t, const kt_tile_buffer *b, const int8_t *x, kt_band_words *words)
{
    const kt_window *const window = &t->view.window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], pairs = kt_columns_count(&b->columns), next = t->view.x_next;
    int32_t ix = -window->pad[KT_X], pair, c;
    x += ix * next;
    for (pair = 0; pair < pairs; pair++, ix += 2, x += 2 * next, words += b->inputs) {
        int32_t *const word = &words->left.first;
        for (c = 0; c < channels; c++) {
            const int32_t left = kt_within(ix, width) ? x[c] : t->outside;
            const int32_t right = kt_within(ix + 1, width) ? x[next + c] : t->outside;
            word[c] = kt_pair_of(left, right);
        }
    }
}

/* The rows of the buffer from `done` on, of which the first is row `top` of the image. x: its four channels. */
KT_INLINE void kt_fill_tiles(const kt_tiling *t, const kt_tile_buffer *b, const int8_t *x, int32_t top, int32_t done, const kt_scaling *scaling)
{
    const kt_window *const window = &t->view.window;
    const int32_t line = t->view.x_line, next = t->view.x_next, pairs = kt_columns_count(&b->columns);
    const int32_t low = kt_clamp(-top, done, b->inputs), high = kt_clamp(window->input[KT_Y] - top, low, b->inputs);
    const int8_t zero = (int8_t)t->outside, outside[KT_QUAD] = {zero, zero, zero, zero};
    int32_t row;
    for (row = done; row < low; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, b->inputs);
    }
    if (window->input[KT_CHANNELS] < KT_QUAD && scaling == NULL) {
        for (; row < high; row++) {
            kt_unzip_few(t, b, x + (top + row) * line, b->words + row);
        }
    } else {
        x += (top + low) * line + kt_maximum(-window->pad[KT_X], 0) * next;
        kt_unzip_inside(&b->columns, x, next, line, outside, b->words + low, high - low, b->inputs, scaling);
    }
    for (row = high; row < b->inputs; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, b->inputs);
    }
}

/* Pairs of weights of one kernel row of so many taps, of two channels that share words of the stream. tap: their first weights; a, b: of the two
 * channels; next: words from one pair to the next. */
static void kt_tile_row_weights(const kt_tiling *t, int32_t taps, int32_t pairs, const int32_t *tap, int32_t *a, int32_t *b, int32_t next)
{
    const int near = t->view.window.stride[KT_X] == 1;
    const int32_t step = t->tap_step, times = t->times;
    const uint32_t kept = times == 0 ? UINT32_MAX : 0xFF00FF00;
    uint32_t before_a = 0, before_b = 0;
    for (; pairs > 0; pairs--, taps -= 2, tap += 2 * step, a += next, b += next) {
        const int32_t first = taps > 0 ? tap[0] : 0, second = taps > 1 ? tap[step] : 0;
        const uint32_t even_a = (uint32_t)kt_pair_of(first, second) << times & kept;
        const uint32_t even_b = (uint32_t)kt_pair_of_high(first, second) << times & kept;
        a[0] = (int32_t)even_a;
        b[0] = (int32_t)even_b;
        a[1] = (int32_t)(near ? before_a >> 16 | even_a << 16 : before_a);
        b[1] = (int32_t)(near ? before_b >> 16 | even_b << 16 : before_b);
        before_a = even_a;
        before_b = even_b;
    }
}

/* Rows that the band before read too, from row `from` of the buffer on, to its beginning. */
static void kt_carry_tiled_rows(const kt_tile_buffer *b, int32_t from)
{
    kt_band_words *words = b->words;
    int32_t left, row;
    for (left = kt_columns_count(&b->columns); left > 0; left--, words += b->inputs) {
        for (row = from; row < b->inputs; row++) {
            words[row - from] = words[row];
        }
    }
}

/* The four channels that the stream has in place `index`, with their weights. */
static void kt_enter_tiles(const kt_tiling *t, const kt_tile_buffer *b, int32_t index, kt_tiled_quad *quad)
{
    const kt_window *const window = &t->view.window;
    const int32_t kernel = window->kernel[KT_Y], channel = 2 * b->pairs * kernel;
    const int32_t *tap = t->stream + index * t->quad_words + t->first_tap;
    int32_t row;
    quad->c = kt_maximum(kt_minimum(KT_QUAD * index, window->input[KT_CHANNELS] - KT_QUAD), 0);
    quad->first = KT_QUAD * index - quad->c;
    quad->end = kt_minimum(window->input[KT_CHANNELS], KT_QUAD);
    quad->starts = t->starts + index * t->start_quad_step - quad->first * t->start_step;
    quad->epilogues = t->epilogues + index * t->epilogue_quad_step;
    for (row = 0; row < kernel; row++, tap += t->row_step) { /* channels 0 and 2 share words, and 1 and 3 */
        const int32_t taps = row < t->tap_rows ? window->kernel[KT_X] : 0;
        int32_t *const weights = b->weights + 2 * row;
        kt_tile_row_weights(t, taps, b->pairs, tap, weights, weights + 2 * channel, 2 * kernel);
        kt_tile_row_weights(t, taps, b->pairs, tap + 1, weights + channel, weights + 3 * channel, 2 * kernel);
    }
    if (t->scaling != NULL) {
        quad->scaling = *t->scaling;
        kt_set_factors(&quad->scaling, quad->c);
    }
}

/* One band of four channels. carried: the rows that the band before read too are in the buffer. */
static void kt_tiled_band(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t band, int carried, kt_tile_filling *fill,
                          kt_tiled_kernel *kernel)
{
    const kt_window *const window = &t->view.window;
    const int32_t oy = band * t->rows, stride = window->stride[KT_Y], rows = window->kernel[KT_Y], next = KT_QUAD * b->inputs;
    const int32_t word_bytes = (int32_t)sizeof(int32_t), weights = 2 * b->pairs * rows;
    kt_tiled_rows of = {.tile = {rows, b->pairs, word_bytes * (next - KT_QUAD * rows), stride},
                        .words = &b->words->left.first + quad->first,
                        .weights = b->weights + quad->first * weights,
                        .epilogue = quad->epilogues + quad->first * t->epilogue_step,
                        .down = 2 * KT_QUAD * stride,
                        .right = next * window->stride[KT_X],
                        .y = t->view.y + oy * t->view.line + quad->c + quad->first,
                        .width = window->output[KT_X],
                        .rows = kt_minimum(window->output[KT_Y] - oy, t->rows),
                        .line = t->view.line,
                        .next = t->view.next};
    int32_t done = 0, c;
    if (t->lines) {
        of.tile = (kt_tile){b->pairs, 1, 0, window->stride[KT_X]};
    }
    if (carried) {
        done = rows - stride;
        kt_carry_tiled_rows(b, b->inputs - done);
    }
    fill(t, b, quad, oy * stride - window->pad[KT_Y], done);
    for (c = quad->first; c < quad->end; c++, of.words++, of.weights += weights, of.epilogue += t->epilogue_step, of.y++) {
        of.start = quad->starts[c * t->start_step] * t->unit;
        kernel(&of);
    }
}

/* Pairs of neighbouring results in a row, of which the last may reach beyond it: of lines two at a time. */
static inline int32_t kt_result_pairs(const kt_tiling *t)
{
    const int32_t width = t->view.window.output[KT_X];
    return t->lines ? (width + 3) / 4 * 2 : (width + 1) / 2;
}

/* The buffer of a tiling, whose columns outside of the image are those of every row. */
static kt_tile_buffer kt_buffer_of(const kt_tiling *t, int32_t *scratch)
{
    const kt_window *const window = &t->view.window;
    const int32_t pairs = kt_maximum((window->kernel[KT_X] + window->stride[KT_X] + 1) / 2, t->lines ? 2 : 1); /* a tile has two rows or more */
    const kt_tile_buffer b = {kt_columns_of(window, (kt_result_pairs(t) - 1) * window->stride[KT_X] + pairs), pairs,
                              (t->rows - 1) * window->stride[KT_Y] + window->kernel[KT_Y], scratch,
                              (kt_band_words *)(scratch + 2 * KT_QUAD * pairs * window->kernel[KT_Y])};
    int32_t row;
    for (row = 0; row < b.inputs; row++) {
        kt_outside_pairs(b.words + row, t->outside, kt_columns_count(&b.columns), b.inputs);
    }
    return b;
}

/* All results of one tiling, or of several over the same x, whose results are parts of one image: band by band. scratch: that of the largest. */
static void kt_walk_tiles(const kt_tiling *tilings, int32_t count, int32_t *scratch, kt_tile_filling *fill, kt_tiled_kernel *kernel)
{
    const kt_tiling *const first = tilings;
    const int32_t quads = (first->view.window.input[KT_CHANNELS] + KT_QUAD - 1) / KT_QUAD;
    const int32_t bands = (first->view.window.output[KT_Y] + first->rows - 1) / first->rows;
    const int32_t direction = kt_direction(first->view.x, first->view.y);
    const int apart = count == 1 && kt_channels_apart(&first->view.window, first->view.x, first->view.y);
    kt_tiled_quad quad = {first->starts, first->epilogues, 0, 0, 0, {NULL, NULL, 0, {0, 0, 0, 0}}};
    kt_tile_buffer buffer = kt_buffer_of(first, scratch);
    int32_t band = apart ? 0 : kt_first(direction, bands), index = 0, i;
    while (index < quads && kt_within(band, bands)) {
        for (i = 0; i < count; i++) {
            const kt_tiling *const t = tilings + i;
            if (count > 1) {
                buffer = kt_buffer_of(t, scratch);
            }
            if (!apart || band == 0) {
                kt_enter_tiles(t, &buffer, index, &quad);
            }
            kt_tiled_band(t, &buffer, &quad, band, apart && band > 0, fill, kernel);
        }
        if (apart) {
            band = band + 1 < bands ? band + 1 : 0;
            index += band == 0;
        } else {
            index = index + 1 < quads ? index + 1 : 0;
            band += index == 0 ? direction : 0;
        }
    }
}

#endif
