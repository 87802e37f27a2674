/* shared_input_gradient.h: W^T dY from the stream that inference reads.
 *
 * Four positions of a row at once, kernel row after kernel row: the columns of the gradient that they meet are scaled into a panel, of which
 * each tap takes four; their products are added to sums of all input channels. Of a 1x1 window the panel stays, so that channels go in
 * blocks and few sums are kept. All four are read before any is written. */
#ifndef KT_SHARED_INPUT_GRADIENT_H
#define KT_SHARED_INPUT_GRADIENT_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/product.h"
#include "../convolution/path_gradient.h"
#include "../../product/scaled_panel.h"

#if KT_DSP
#include "../dsp/simd.h"
#endif

/* 1 in the kernel that adds a trained path: it does without what only the other one calls. */
#ifndef KT_WITH_PATH
#define KT_WITH_PATH 0
#endif

enum {
    KT_GROUP = 4,        /* positions */
    KT_FOUR = 4,         /* channels */
    KT_BLOCK_SUMS = 64,  /* of a 1x1 window: always on the stack */
    KT_STACK_WORDS = 192 /* of panel and sums, without scratch */
};

/* Positions (y, x + i * stride). */
typedef struct {
    int32_t y, x, count;
} kt_positions;

/* window: with its positions in one row where they may be. columns: of the panel. part: fours of channels that it holds of a single position.
 * sums: as many as `room`. path: NULL without KT_WITH_PATH. */
typedef struct {
    const kt_shared_input_gradient_params *params;
    kt_window window;
    const int8_t *g;
    int8_t *dx;
    int32_t quads;
    int32_t columns;
    int32_t part;
    int32_t *panel;
    int32_t *sums;
    int32_t room;
    const kt_path *path;
} kt_shared_walk;

/* `count` channels of a column of a panel, from `first` on, four of them `next` words apart; zeros where g is NULL. */
static __attribute__((noinline)) void kt_fill_channels(const kt_shared_input_gradient_params *params, const int8_t *g, int32_t first,
                                                       int32_t count, int32_t *word, int32_t next)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (params->prescale_shift - 1)), shift = params->prescale_shift;
    const int16_t *m = params->prescale + first;
    if (g == NULL) {
        for (; count > 0; count -= KT_FOUR, word += next) {
            word[0] = 0;
            word[1] = 0;
        }
        return;
    }
    for (g += first; count >= KT_FOUR; count -= KT_FOUR, g += KT_FOUR, m += KT_FOUR, word += next) {
        kt_scale_four(g, m, half, shift, word, word + 1);
    }
    if (count > 0) {
        int8_t rest[KT_FOUR] = {0, 0, 0, 0};
        memcpy(rest, g, (size_t)count);
        kt_scale_four(rest, m, half, shift, word, word + 1);
    }
}

/* All columns of a panel, of a row of the gradient from `first` on, which may lie outside. */
static inline void kt_fill_shared_columns(const kt_shared_walk *walk, int32_t row, int32_t first)
{
    const int32_t width = walk->window.output[KT_X], channels = walk->window.output[KT_CHANNELS], columns = walk->columns;
    const int8_t *const g = walk->g + row * width * channels;
    int32_t i;
    for (i = 0; i < columns; i++) {
        const int32_t column = first + i;
        kt_fill_channels(walk->params, kt_within(column, width) ? g + column * channels : NULL, 0, channels, walk->panel + 2 * i, 2 * columns);
    }
}

/* What sums start from: half a unit of the result, but where a path is added and saturates. */
static inline int32_t kt_first_sum(const kt_shared_walk *walk)
{
    return KT_WITH_PATH ? 0 : (int32_t)(UINT32_C(1) << (walk->params->shift - 1));
}

KT_INLINE int32_t kt_rounded_sum(int32_t sum, int32_t shift)
{
    return KT_WITH_PATH ? (sum >> shift) + ((sum >> (shift - 1)) & 1) : sum >> shift;
}

/* Four gradients of their sums. */
KT_INLINE void kt_store_gradients(int8_t *dx, int32_t first, int32_t second, int32_t third, int32_t fourth, int32_t shift)
{
    first = kt_rounded_sum(first, shift), second = kt_rounded_sum(second, shift);
    third = kt_rounded_sum(third, shift), fourth = kt_rounded_sum(fourth, shift);
#if KT_DSP
    kt_store_word(dx, kt_symmetric(kt_bytes(__ssat(first, 8), __ssat(second, 8), __ssat(third, 8), __ssat(fourth, 8))));
#else
    dx[0] = kt_saturate8(first);
    dx[1] = kt_saturate8(second);
    dx[2] = kt_saturate8(third);
    dx[3] = kt_saturate8(fourth);
#endif
}

/* The gradients of `count` channels of one position, whose sums have the order of channels. */
static inline void kt_store_position(const kt_shared_walk *walk, int32_t *sums, int32_t y, int32_t x, int32_t first, int32_t count)
{
    const kt_window *const window = &walk->window;
    int8_t *const dx = walk->dx + (y * window->input[KT_X] + x) * window->input[KT_CHANNELS] + first;
    const int32_t shift = walk->params->shift;
    int32_t c;
    for (c = 0; KT_WITH_PATH && c < count; c += KT_GATHER_BLOCK) {
        kt_add_path(window, walk->path, sums + c, y, x, first + c, kt_minimum(count - c, KT_GATHER_BLOCK));
    }
    for (c = 0; c < count; c += KT_FOUR, sums += KT_FOUR) {
        kt_store_gradients(dx + c, sums[0], sums[1], sums[2], sums[3], shift);
    }
}

/* The same of all positions of a group, whose sums lie [pair][2][position]: channels of a pair are two apart. */
static inline void kt_store_positions(const kt_shared_walk *walk, const kt_positions *at, int32_t first, int32_t count)
{
    const kt_window *const window = &walk->window;
    const int32_t depth = window->input[KT_CHANNELS], shift = walk->params->shift;
    int32_t row[KT_WITH_PATH ? KT_GATHER_BLOCK : 1];
    int32_t i, c, k;
    for (i = 0; i < at->count; i++) {
        const int32_t x = at->x + i * window->stride[KT_X];
        const int32_t *sums = walk->sums + i;
        int8_t *const dx = walk->dx + (at->y * window->input[KT_X] + x) * depth + first;
        for (c = 0; c < count && !KT_WITH_PATH; c += KT_FOUR, sums += KT_FOUR * KT_GROUP) {
            kt_store_gradients(dx + c, sums[0], sums[8], sums[4], sums[12], shift);
        }
        for (c = 0; c < count && KT_WITH_PATH; c += KT_GATHER_BLOCK) {
            const int32_t part = kt_minimum(count - c, KT_GATHER_BLOCK);
            for (k = 0; k < part; k += KT_FOUR, sums += KT_FOUR * KT_GROUP) {
                row[k] = sums[0], row[k + 1] = sums[8], row[k + 2] = sums[4], row[k + 3] = sums[12];
            }
            kt_store_position(walk, row, at->y, x, first + c, part);
        }
    }
}

/* count: a multiple of 4 */
static inline void kt_start_sums(int32_t *sums, int32_t half, int32_t count)
{
    for (; count > 0; count -= 4, sums += 4) {
        sums[0] = half;
        sums[1] = half;
        sums[2] = half;
        sums[3] = half;
    }
}

/* Adds the products of every tap. first: of the block's channels; end: of the sums. */
static inline void kt_add_taps(const kt_shared_walk *walk, const kt_positions *at, int32_t first, const int32_t *end)
{
    const kt_window *const window = &walk->window;
    const int32_t depth = window->input[KT_CHANNELS], stride = window->stride[KT_X], taps = window->kernel[KT_X];
    const int32_t ahead = walk->columns - KT_GROUP;
    const int32_t left = at->x + window->pad[KT_X]; /* what the first position meets with tap 0, times the stride */
    const int32_t met = stride == 1 ? left : left / stride;
    const int32_t *stream = walk->params->stream + first; /* as many words as values */
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++, stream += taps * depth) {
        const int32_t row = kt_output_at(window, KT_Y, at->y, ky);
        if (row < 0) {
            continue;
        }
        if (first == 0) {
            kt_fill_shared_columns(walk, row, met - ahead);
        }
        for (kx = 0; kx < taps; kx++) {
            const int32_t distance = left - kx * window->dilation[KT_X];
            const int32_t column = stride == 1 ? distance : distance / stride;
            if (column * stride == distance) {
                kt_product_backward(walk->sums, end, walk->panel + 2 * (column - met + ahead), walk->quads, stream + kx * depth,
                                    walk->params->step, 2 * walk->columns);
            }
        }
    }
}

static __attribute__((noinline)) void kt_shared_positions(const kt_shared_walk *walk, const kt_positions *at)
{
    const int32_t depth = walk->window.input[KT_CHANNELS];
    int32_t first;
    for (first = 0; first < depth; first += walk->room / KT_GROUP) {
        const int32_t count = kt_minimum(depth - first, walk->room / KT_GROUP);
        kt_start_sums(walk->sums, kt_first_sum(walk), KT_GROUP * count);
        kt_add_taps(walk, at, first, walk->sums + KT_GROUP * count);
        kt_store_positions(walk, at, first, count);
    }
}

/* One position that meets itself alone, whose sums have the order of channels. Either the panel holds all of it, or there is one
 * block of sums, so that all is read before anything is written. */
static __attribute__((noinline)) void kt_shared_position(const kt_shared_walk *walk, int32_t y, int32_t x)
{
    const kt_shared_input_gradient_params *const params = walk->params;
    const int32_t depth = walk->window.input[KT_CHANNELS], channels = walk->window.output[KT_CHANNELS];
    const int8_t *const g = walk->g + (y * walk->window.output[KT_X] + x) * channels;
    int32_t first, quad;
    for (first = 0; first < depth; first += walk->room) {
        const int32_t count = kt_minimum(depth - first, walk->room);
        kt_start_sums(walk->sums, kt_first_sum(walk), count);
        for (quad = 0; quad < walk->quads; quad += walk->part) {
            const int32_t quads = kt_minimum(walk->quads - quad, walk->part);
            if (first == 0) {
                kt_fill_channels(params, g, KT_FOUR * quad, kt_minimum(channels - KT_FOUR * quad, KT_FOUR * quads), walk->panel, 2);
            }
            kt_product_backward_row(walk->sums, walk->sums + count, walk->panel, quads, params->stream + quad * params->step + first,
                                    params->step, 2);
        }
        kt_store_position(walk, walk->sums, y, x, first, count);
    }
}

/* All positions of a window that is pointwise lie in one row. */
static inline void kt_join_rows(kt_window *window)
{
    window->input[KT_X] *= window->input[KT_Y];
    window->output[KT_X] *= window->output[KT_Y];
    window->input[KT_Y] = 1;
    window->output[KT_Y] = 1;
}

/* Row by row, in groups of four positions of each phase. */
static inline void kt_walk_shared(const kt_shared_walk *walk)
{
    const kt_window *const window = &walk->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t stride = window->stride[KT_X];
    const int32_t groups = kt_divide_up(width, KT_GROUP * stride);
    const int32_t direction = kt_direction(walk->g, walk->dx);
    const int alone = kt_is_pointwise(window);
    kt_positions at;
    int32_t i, phase;
    for (at.y = kt_first(direction, height); kt_within(at.y, height); at.y += direction) {
        for (i = kt_first(direction, groups); kt_within(i, groups); i += direction) {
            for (phase = 0; phase < stride; phase++) {
                at.x = KT_GROUP * stride * i + phase;
                at.count = kt_minimum(kt_divide_up(width - at.x, stride), KT_GROUP);
                if (at.count == 1 && alone) {
                    kt_shared_position(walk, at.y, at.x);
                } else if (at.count > 0) {
                    kt_shared_positions(walk, &at);
                }
            }
        }
    }
}

/* Functions of their own, so that each does without the words of the other. */
static __attribute__((noinline)) void kt_walk_with_scratch(const kt_shared_walk *walk)
{
    int32_t block[KT_BLOCK_SUMS];
    kt_shared_walk own = *walk;
    own.sums = own.room <= KT_BLOCK_SUMS ? block : own.panel + 2 * own.columns * own.quads;
    kt_walk_shared(&own);
}

/* Of a single position with many channels the panel is laid in parts. */
static __attribute__((noinline)) void kt_walk_on_stack(const kt_shared_walk *walk)
{
    const int32_t depth = walk->window.input[KT_CHANNELS];
    int32_t words[KT_STACK_WORDS];
    kt_shared_walk own = *walk;
    if (2 * own.quads > KT_STACK_WORDS - KT_BLOCK_SUMS) {
        own.room = depth;
        own.part = (KT_STACK_WORDS - depth) / 2;
    }
    own.sums = words;
    own.panel = words + own.room;
    kt_walk_shared(&own);
}

/* path: NULL without KT_WITH_PATH. */
static inline void kt_shared_gradient(const kt_shared_input_gradient_params *params, const kt_path *path, const int8_t *g, int8_t *dx,
                                      void *scratch)
{
    kt_shared_walk walk = {params, params->window, g, dx, 0, 0, 0, scratch, NULL, KT_BLOCK_SUMS, path};
    kt_window *const window = &walk.window;
    if (kt_is_pointwise(window)) {
        kt_join_rows(window);
    }
    walk.quads = (window->output[KT_CHANNELS] + KT_FOUR - 1) / KT_FOUR;
    walk.part = walk.quads;
    walk.columns = kt_divide_up((window->kernel[KT_X] - 1) * window->dilation[KT_X], window->stride[KT_X]) + KT_GROUP;
    if (window->kernel[KT_Y] * window->kernel[KT_X] > 1) {
        walk.room = KT_GROUP * window->input[KT_CHANNELS]; /* blocks would scale every column again */
    }
    if (scratch == NULL) {
        kt_walk_on_stack(&walk);
    } else {
        kt_walk_with_scratch(&walk);
    }
}

#endif
