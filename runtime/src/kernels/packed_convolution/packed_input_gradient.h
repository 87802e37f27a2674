/* packed_input_gradient.h: W^T dY as a product: what a position of the input receives is a window over the gradient.
 *
 * Without strides two neighbouring positions are computed at once, both read before either is written. With strides neighbours have other
 * taps, and positions are taken in groups of two of each phase.
 *
 * Scaling costs more than multiplying where channels are few. Where a window moves on by two columns, all but two of those that its two
 * positions see are in the panel already, two columns further on, and are moved (kt_slide). */
#ifndef KT_PACKED_INPUT_GRADIENT_H
#define KT_PACKED_INPUT_GRADIENT_H

#include "../../product/halves.h"
#include "../../product/product.h"
#include "../../product/scaled_panel.h"
#include "packed_bias.h"
#include "../convolution/path_gradient.h"

/* 1 in the kernel that adds a trained path: it does without what only the other one calls. */
#ifndef KT_WITH_PATH
#define KT_WITH_PATH 0
#endif

/* Windows that a kernel is for: it does without the ways to walk over the positions of others. */
enum { KT_POINTWISE_WINDOWS = 1, KT_OTHER_WINDOWS = 2 };
#ifndef KT_WINDOWS
#define KT_WINDOWS (KT_POINTWISE_WINDOWS | KT_OTHER_WINDOWS)
#endif

/* Channels of dx at once. */
enum { KT_GRADIENT_BLOCK = KT_WITH_PATH ? KT_PATH_BLOCK : KT_GATHER_BLOCK };

/* The gradient as the product reads it. */
typedef struct {
    const kt_window *window;
    const int8_t *g;
    const int16_t *prescale;
    int32_t prescale_shift;
} kt_scaled_gradient;

/* The taps of one phase, and their weights. */
typedef struct {
    int32_t rows, columns;
    int32_t pairs;
    const int32_t *stream;
} kt_phase;

/* One column of one row of a panel, scaled, or zeros where g is NULL. */
static __attribute__((noinline)) void kt_fill_one(const kt_scaled_gradient *from, const int8_t *g, int32_t *word)
{
    const int32_t channels = from->window->output[KT_CHANNELS];
    int32_t pairs;
    if (g != NULL) {
        kt_fill_scaled(g, from->prescale, channels, (int32_t)(UINT32_C(1) << (from->prescale_shift - 1)), from->prescale_shift, word);
    } else {
        for (pairs = kt_channel_pairs(channels); pairs > 0; pairs--, word += 2) {
            *word = 0;
        }
    }
}

/* A panel's column whose window the border cuts. */
static inline void kt_fill_cut_gradient(const kt_scaled_gradient *from, const kt_phase *phase, int32_t *word, int32_t top,
                                        int32_t left)
{
    const kt_window *const window = from->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t width = window->output[KT_X];
    const int32_t words = 2 * kt_channel_pairs(channels);
    int32_t row, column;
    for (row = top; row < top + phase->rows; row++) {
        const int within = kt_within(row, window->output[KT_Y]);
        for (column = left; column < left + phase->columns; column++, word += words) {
            const int8_t *const g = from->g + (row * width + column) * channels;
            kt_fill_one(from, within && kt_within(column, width) ? g : NULL, word);
        }
    }
}

/* The panel's column of the input position whose first result is (top, left). */
static inline void kt_fill_gradient(const kt_scaled_gradient *from, const kt_phase *phase, int32_t *word, int32_t top,
                                int32_t left)
{
    const kt_window *const window = from->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t line = window->output[KT_X] * channels;
    const int32_t shift = from->prescale_shift;
    const int32_t half = (int32_t)(UINT32_C(1) << (shift - 1));
    if ((top | left) >= 0 && top + phase->rows <= window->output[KT_Y] && left + phase->columns <= window->output[KT_X]) {
        const int8_t *g = from->g + top * line + left * channels;
        const int32_t next = line - phase->columns * channels;
        int32_t row, column;
        for (row = phase->rows; row > 0; row--, g += next) {
            for (column = phase->columns; column > 0; column--, g += channels) {
                word = kt_fill_scaled(g, from->prescale, channels, half, shift, word);
            }
        }
    } else {
        kt_fill_cut_gradient(from, phase, word, top, left);
    }
}

/* Taps of a phase along one axis. */
static inline int32_t kt_phase_taps(const kt_window *window, int axis, int32_t phase)
{
    const int32_t left = window->kernel[axis] - phase;
    return left <= 0 ? 0 : (left + window->stride[axis] - 1) / window->stride[axis];
}

/* Result that the last tap of a phase meets at an input index; it may lie outside. */
static inline int32_t kt_first_met(const kt_window *window, int axis, int32_t index, int32_t taps)
{
    return (index + window->pad[axis]) / window->stride[axis] - (taps - 1);
}

/* The phase of (fy, fx), found by walking over those before it. */
static __attribute__((noinline)) kt_phase kt_phase_of(const kt_window *window, const int32_t *stream, int32_t fy, int32_t fx)
{
    const int32_t quads = kt_padded_channels(window->input[KT_CHANNELS]) / KT_QUAD;
    const int32_t pairs = kt_channel_pairs(window->output[KT_CHANNELS]);
    kt_phase phase = {0, 0, 0, NULL};
    int32_t y, x;
    for (y = 0; y <= fy; y++) {
        for (x = 0; x < window->stride[KT_X] && (y < fy || x <= fx); x++) {
            stream += 2 * quads * phase.pairs;
            phase.rows = kt_phase_taps(window, KT_Y, y);
            phase.columns = kt_phase_taps(window, KT_X, x);
            phase.pairs = phase.rows * phase.columns * pairs;
        }
    }
    phase.stream = stream;
    return phase;
}

/* Everything that a walk needs. path: NULL without KT_WITH_PATH. rest: of a 1x1 window, the stream of the input channels behind the first ones, or
 * NULL. */
typedef struct {
    kt_scaled_gradient from;
    const int32_t *stream;
    int32_t shift;
    const kt_path *path;
    int8_t *dx;
    int32_t *panel;
    int32_t first;
    const int32_t *rest;
} kt_gradient_walk;

/* The sums of one position to its gradient: `count` channels from `first` on. */
static inline void kt_finish_gradient(const kt_gradient_walk *walk, int32_t *sums, int32_t y, int32_t x, int32_t first,
                                      int32_t count)
{
    const kt_window *const window = walk->from.window;
    int8_t *const dx = walk->dx + (y * window->input[KT_X] + x) * window->input[KT_CHANNELS] + first;
    const int32_t shift = walk->shift;
    int32_t k;
    if (KT_WITH_PATH) {
        kt_add_path(window, walk->path, sums, y, x, first, count);
    }
    if (shift > 0 && shift < 32) {
        kt_round_sums(sums, shift, count, dx);
        return;
    }
    for (k = 0; k < count; k++) {
        dx[k] = kt_saturate8(kt_shift_round(sums[k], shift));
    }
}

static inline void kt_fill_at(const kt_gradient_walk *walk, const kt_phase *phase, int32_t *word, int32_t y, int32_t x)
{
    const kt_window *const window = walk->from.window;
    const int32_t top = kt_first_met(window, KT_Y, y, phase->rows);
    kt_fill_gradient(&walk->from, phase, word, top, kt_first_met(window, KT_X, x, phase->columns));
}

/* The panel of the positions x and x + direction from that of the two before them, x - 2 * direction and x - direction: each column
 * is what was two columns further on, and two are new. Of the first position they are the last but one, which the second position had
 * last, and the last, which is now the second's last but one. */
static inline void kt_slide(const kt_gradient_walk *walk, const kt_phase *phase, int32_t direction, int32_t y, int32_t x)
{
    const kt_window *const window = walk->from.window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X], columns = phase->columns;
    const int32_t words = 2 * kt_channel_pairs(channels); /* of a column */
    const int32_t step = direction * words, start = direction > 0 ? 0 : (columns - 1) * words;
    const int32_t left = kt_first_met(window, KT_X, x, columns) + (direction > 0 ? columns - 1 : 0);
    int32_t top = kt_first_met(window, KT_Y, y, phase->rows);
    int32_t *row = walk->panel + start;
    int32_t rows, i, k;
    for (rows = phase->rows; rows > 0; rows--, top++, row += columns * words) {
        const int8_t *const g = walk->from.g + (top * width + left) * channels;
        int32_t *word = row;
        if (!kt_within(top, window->output[KT_Y])) {
            continue; /* zeros, as before */
        }
        for (k = columns - 2; k > 0; k--, word += step) {
            memcpy(word, word + 2 * step, (size_t)words * sizeof *word);
        }
        kt_fill_one(&walk->from, kt_within(left, width) ? g : NULL, word + step);
        for (i = 0; i < words; i += 2) {
            word[i] = word[i - step + 1];
            word[i + 1] = word[i + step];
        }
        kt_fill_one(&walk->from, kt_within(left + direction, width) ? g + direction * channels : NULL, word + step + 1);
    }
}

/* Whether the product can make results of its sums. */
static inline int kt_gives_results(const kt_gradient_walk *walk)
{
    return !KT_WITH_PATH && walk->from.window->input[KT_CHANNELS] % KT_QUAD == 0 && walk->shift > 1 && walk->shift < 32;
}

/* The gradients of two positions, or only of the first, from their panel: a block of channels after the other. */
static inline void kt_multiply_positions(const kt_gradient_walk *walk, const kt_phase *phase, int32_t y0, int32_t x0, int two,
                                         int32_t y1, int32_t x1)
{
    static const int32_t zeros[KT_GRADIENT_BLOCK] = {0};
    const int32_t channels = walk->from.window->input[KT_CHANNELS];
    const int32_t *stream = phase->stream;
    int32_t sums[2 * KT_GRADIENT_BLOCK];
    int32_t first;
    if (phase->pairs > 0 && kt_gives_results(walk)) {
        const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (walk->shift - 1)), walk->shift};
        int8_t *const dx = walk->dx + (y0 * walk->from.window->input[KT_X] + x0) * channels;
        const int32_t step = ((y1 - y0) * walk->from.window->input[KT_X] + x1 - x0) * channels;
        kt_product_gradient(dx, two ? step : 0, dx + channels, rounding, walk->panel, phase->pairs, stream);
        return;
    }
    for (first = 0; first < channels; first += KT_GRADIENT_BLOCK) {
        const int32_t count = kt_minimum(channels - first, KT_GRADIENT_BLOCK);
        const int32_t padded = kt_padded_channels(count);
        if (phase->pairs == 0) {
            memset(sums, 0, sizeof sums);
        } else {
            kt_product_exact_sums(sums, two ? 4 * padded : 0, sums + padded, zeros, walk->panel, phase->pairs, stream);
            stream += padded / KT_QUAD * 2 * phase->pairs;
        }
        kt_finish_gradient(walk, sums, y0, x0, first, count);
        if (two) {
            kt_finish_gradient(walk, sums + padded, y1, x1, first, count);
        }
    }
}

static inline void kt_swap_columns(int32_t *panel, int32_t pairs)
{
    for (; pairs > 0; pairs--, panel += 2) {
        const int32_t word = panel[0];
        panel[0] = panel[1];
        panel[1] = word;
    }
}

/* Whether the first position of a panel has to be done before the second: a delta's share starts from g itself, and the first block of
 * channels of the second position may lie over what later blocks of the first position read. */
static inline int kt_one_by_one(const kt_gradient_walk *walk, const kt_phase *phase, int32_t y0, int32_t x0, int32_t y1, int32_t x1)
{
    const kt_window *const window = walk->from.window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X], depth = window->input[KT_CHANNELS];
    const int32_t top = kt_first_met(window, KT_Y, y0, phase->rows), left = kt_first_met(window, KT_X, x0, phase->columns);
    const int32_t bottom = kt_minimum(top + phase->rows, window->output[KT_Y]) - 1;
    const int32_t right = kt_minimum(left + phase->columns, width);
    const int8_t *const g = walk->from.g, *const second = walk->dx + (y1 * window->input[KT_X] + x1) * depth;
    if (!KT_WITH_PATH || walk->path->gradient != g || depth <= KT_GRADIENT_BLOCK) {
        return 0;
    }
    return (uintptr_t)second < (uintptr_t)(g + (bottom * width + right) * channels) &&
           (uintptr_t)(g + (kt_maximum(top, 0) * width + kt_maximum(left, 0)) * channels) < (uintptr_t)(second + depth);
}

/* The gradients of the positions of a panel, both at once where they may be. */
static inline void kt_multiply_panel(const kt_gradient_walk *walk, const kt_phase *phase, int32_t y0, int32_t x0, int two,
                                     int32_t y1, int32_t x1)
{
    if (two && kt_one_by_one(walk, phase, y0, x0, y1, x1)) {
        kt_multiply_positions(walk, phase, y0, x0, 0, y0, x0);
        kt_swap_columns(walk->panel, phase->pairs);
        kt_multiply_positions(walk, phase, y1, x1, 0, y1, x1);
        kt_swap_columns(walk->panel, phase->pairs); /* for what slides */
        return;
    }
    kt_multiply_positions(walk, phase, y0, x0, two, y1, x1);
}

static __attribute__((noinline)) void kt_two_gradients(const kt_gradient_walk *walk, const kt_phase *phase, int32_t y0, int32_t x0,
                                                       int two, int32_t y1, int32_t x1)
{
    kt_fill_at(walk, phase, walk->panel, y0, x0);
    if (two) {
        kt_fill_at(walk, phase, walk->panel + 1, y1, x1);
    }
    kt_multiply_panel(walk, phase, y0, x0, two, y1, x1);
}

/* The position after this one, which may lie beyond the last. */
static inline void kt_next_gradient(const kt_window *window, int32_t direction, int32_t *y, int32_t *x)
{
    *x += direction;
    if (!kt_within(*x, window->input[KT_X])) {
        *x = kt_first(direction, window->input[KT_X]);
        *y += direction;
    }
}

/* A way to walk over the positions. Each is a function of its own, for bounds of the stack leave out those that a layer does not take. */
#define KT_WALK static __attribute__((noinline, unused))

/* Every position has the same taps: neighbours go together, across the ends of rows too. */
KT_WALK void kt_walk_positions(const kt_gradient_walk *walk)
{
    const kt_window *const window = walk->from.window;
    const kt_phase phase = kt_phase_of(window, walk->stream, 0, 0);
    const int32_t width = window->input[KT_X];
    const int32_t direction = kt_direction(walk->from.g, walk->dx);
    int32_t left = window->input[KT_Y] * width;
    int32_t y = kt_first(direction, window->input[KT_Y]), x = kt_first(direction, width);
    int slides = 0; /* whether the panel holds the two positions before, of the same row */
    for (; left > 0; left -= 2) {
        const int32_t y0 = y, x0 = x;
        int32_t y1, x1;
        kt_next_gradient(window, direction, &y, &x);
        y1 = y, x1 = x;
        if (slides && left > 1 && y1 == y0) {
            kt_slide(walk, &phase, direction, y0, x0);
            kt_multiply_panel(walk, &phase, y0, x0, 1, y1, x1);
        } else {
            kt_two_gradients(walk, &phase, y0, x0, left > 1, y1, x1);
        }
        kt_next_gradient(window, direction, &y, &x);
        slides = phase.columns > 2 && y == y0;
    }
}

/* The next phase of a row: the one after it in the stream. */
static inline void kt_next_phase(const kt_window *window, int32_t fx, kt_phase *phase)
{
    const int32_t quads = kt_padded_channels(window->input[KT_CHANNELS]) / KT_QUAD;
    phase->stream += 2 * quads * phase->pairs;
    phase->columns = kt_phase_taps(window, KT_X, fx);
    phase->pairs = phase->rows * phase->columns * kt_channel_pairs(window->output[KT_CHANNELS]);
}

/* Row by row, in groups of two positions of each phase. */
KT_WALK void kt_walk_rows(const kt_gradient_walk *walk)
{
    const kt_window *const window = walk->from.window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t step = window->stride[KT_X];
    const int32_t groups = (width + 2 * step - 1) / (2 * step);
    const int32_t direction = kt_direction(walk->from.g, walk->dx);
    const int32_t lead = window->pad[KT_X] % step;
    int32_t y, i, fx;
    for (y = kt_first(direction, height); kt_within(y, height); y += direction) {
        const kt_phase first = kt_phase_of(window, walk->stream, (y + window->pad[KT_Y]) % window->stride[KT_Y], 0);
        for (i = kt_first(direction, groups); kt_within(i, groups); i += direction) {
            kt_phase phase = first;
            for (fx = 0; fx < step; fx++) {
                const int32_t x = 2 * step * i + fx - lead + (fx < lead ? step : 0);
                if (fx > 0) {
                    kt_next_phase(window, fx, &phase);
                }
                if (x < width) {
                    kt_two_gradients(walk, &phase, y, x, x + step < width, y, x + step);
                }
            }
        }
    }
}

/* The panel of two positions of a 1x1 window, or where no more are left that of one twice. */
static inline void kt_fill_pointwise(const kt_scaled_gradient *from, int32_t *panel, int32_t position, int32_t direction, int32_t left)
{
    const int32_t channels = from->window->output[KT_CHANNELS];
    const int8_t *const g = from->g + position * channels;
    kt_fill_scaled_columns(g, left > 1 ? g + direction * channels : g, from->prescale, channels, from->prescale_shift, panel);
}

/* A 1x1 window: what a position receives lies where it does, without a border. */
KT_WALK void kt_walk_pointwise(const kt_gradient_walk *walk)
{
    const kt_window *const window = walk->from.window;
    const int32_t depth = window->input[KT_CHANNELS], pairs = kt_channel_pairs(window->output[KT_CHANNELS]);
    const int32_t direction = kt_direction(walk->from.g, walk->dx);
    const int32_t stride = direction * depth;
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (walk->shift - 1)), walk->shift};
    int32_t left = window->input[KT_Y] * window->input[KT_X];
    int32_t position = kt_first(direction, left);
    const int32_t first = walk->rest != NULL ? walk->first : depth;
    int8_t *dx = walk->dx + position * depth;
    for (; left > 0; left -= 2, position += 2 * direction, dx += 2 * stride) {
        const int32_t second = left > 1 ? stride : 0;
        kt_fill_pointwise(&walk->from, walk->panel, position, direction, left);
        kt_product_gradient(dx, second, dx + first, rounding, walk->panel, pairs, walk->stream);
        if (walk->rest != NULL) {
            kt_product_gradient(dx + first, second, dx + depth, rounding, walk->panel, pairs, walk->rest);
        }
    }
}

static inline void kt_walk_all(const kt_gradient_walk *walk)
{
    const kt_window *const window = walk->from.window;
    const int pointwise = KT_WINDOWS == KT_POINTWISE_WINDOWS || (kt_gives_results(walk) && kt_is_pointwise(window));
    if ((KT_WINDOWS & KT_POINTWISE_WINDOWS) != 0 && pointwise) {
        kt_walk_pointwise(walk);
    } else if (window->stride[KT_Y] == 1 && window->stride[KT_X] == 1) {
        kt_walk_positions(walk);
    } else {
        kt_walk_rows(walk);
    }
}

enum { KT_SMALL_PANEL = 128 }; /* words */

/* A function of its own, so that the others do without the panel. */
static __attribute__((noinline)) void kt_walk_on_stack(const kt_gradient_walk *walk)
{
    int32_t panel[KT_SMALL_PANEL];
    kt_gradient_walk own = *walk;
    own.panel = panel;
    kt_walk_all(&own);
}

/* Without scratch a small panel lies on the stack. */
static inline void kt_walk_gradient(const kt_gradient_walk *walk)
{
    if (!KT_WITH_PATH && walk->panel == NULL) {
        kt_walk_on_stack(walk);
    } else {
        kt_walk_all(walk);
    }
}

#endif
