/* Gradient of CONV_2D and FULLY_CONNECTED to their input, from the stream that inference reads.
 *
 * Four positions of a row at once, kernel row after kernel row: the columns of the gradient that they meet are scaled into a panel, of which
 * each tap takes four; their products are added to sums of all input channels. Of a 1x1 window the panel stays, so that channels go in
 * blocks and few sums are kept. All four are read before any is written. */
#include "../product/product.h"
#include "scaled_gradient.h"
#include "window.h"

#if KT_DSP
#include "dsp/simd.h"
#endif

enum {
    KT_GROUP = 4,         /* positions */
    KT_FOUR = 4,          /* channels */
    KT_BLOCK_SUMS = 64,   /* of a 1x1 window */
    KT_SMALL_PANEL = 128  /* words */
};

/* Positions (y, x + i * stride). */
typedef struct {
    int32_t y, x, count;
} kt_positions;

/* window: with its positions in one row where they may be. columns: of the panel. sums: as many as `room`. */
typedef struct {
    const kt_shared_input_gradient_params *params;
    kt_window window;
    const int8_t *g;
    int8_t *dx;
    int32_t quads;
    int32_t columns;
    int32_t *panel;
    int32_t *sums;
    int32_t room;
} kt_shared_walk;

/* One column of a panel, its fours of channels `next` words apart; zeros where g is NULL. */
static __attribute__((noinline)) void kt_fill_four_by_four(const kt_shared_input_gradient_params *params, const int8_t *g,
                                                           int32_t *word, int32_t next)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (params->prescale_shift - 1)), shift = params->prescale_shift;
    const int16_t *m = params->prescale;
    int32_t left = params->window.output[KT_CHANNELS];
    if (g == NULL) {
        for (; left > 0; left -= KT_FOUR, word += next) {
            word[0] = 0;
            word[1] = 0;
        }
        return;
    }
    for (; left >= KT_FOUR; left -= KT_FOUR, g += KT_FOUR, m += KT_FOUR, word += next) {
        kt_scale_four(g, m, half, shift, word, word + 1);
    }
    if (left > 0) {
        int8_t rest[KT_FOUR] = {0, 0, 0, 0};
        memcpy(rest, g, (size_t)left);
        kt_scale_four(rest, m, half, shift, word, word + 1);
    }
}

/* `columns` columns of a row of the gradient, from `first` on, which may lie outside. */
static inline void kt_fill_columns(const kt_shared_walk *walk, int32_t row, int32_t first, int32_t columns)
{
    const int32_t width = walk->window.output[KT_X], channels = walk->window.output[KT_CHANNELS];
    const int8_t *const g = walk->g + row * width * channels;
    int32_t i;
    for (i = 0; i < columns; i++) {
        const int32_t column = first + i;
        kt_fill_four_by_four(walk->params, kt_within(column, width) ? g + column * channels : NULL, walk->panel + 2 * i, 2 * columns);
    }
}

/* Four gradients of their sums, which hold half a unit more. */
KT_INLINE void kt_store_gradients(int8_t *dx, int32_t first, int32_t second, int32_t third, int32_t fourth, int32_t shift)
{
#if KT_DSP
    kt_store_word(dx, kt_symmetric(kt_bytes(__ssat(first >> shift, 8), __ssat(second >> shift, 8), __ssat(third >> shift, 8),
                                            __ssat(fourth >> shift, 8))));
#else
    dx[0] = kt_saturate8(first >> shift);
    dx[1] = kt_saturate8(second >> shift);
    dx[2] = kt_saturate8(third >> shift);
    dx[3] = kt_saturate8(fourth >> shift);
#endif
}

/* The gradients of `count` channels of all positions. dx: of the first; step: from one to the next. */
static inline void kt_store_block(const kt_shared_walk *walk, int8_t *dx, int32_t step, int32_t positions, int32_t count)
{
    const int32_t shift = walk->params->shift;
    int32_t i, c;
    for (i = 0; i < positions; i++, dx += step) {
        const int32_t *sums = walk->sums + i;
        for (c = 0; c < count; c += KT_FOUR, sums += KT_FOUR * KT_GROUP) {
            kt_store_gradients(dx + c, sums[0], sums[8], sums[4], sums[12], shift); /* channels of a pair lie two apart */
        }
    }
}

/* The same of one position, whose sums have the order of channels. */
static inline void kt_store_row(const kt_shared_walk *walk, int8_t *dx, int32_t count)
{
    const int32_t shift = walk->params->shift;
    const int32_t *sums = walk->sums;
    int32_t c;
    for (c = 0; c < count; c += KT_FOUR, sums += KT_FOUR) {
        kt_store_gradients(dx + c, sums[0], sums[1], sums[2], sums[3], shift);
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
static inline void kt_add_taps(const kt_shared_walk *walk, const kt_positions *at, int32_t first, const int32_t *end, int one)
{
    const kt_window *const window = &walk->window;
    const int32_t depth = window->input[KT_CHANNELS], stride = window->stride[KT_X], taps = window->kernel[KT_X];
    const int32_t columns = one ? 1 : walk->columns, ahead = one ? 0 : columns - KT_GROUP;
    const int32_t left = at->x + window->pad[KT_X]; /* what the first position meets with tap 0, times the stride */
    const int32_t met = stride == 1 ? left : left / stride;
    const int32_t step = walk->params->step;
    const int32_t *stream = walk->params->stream + first; /* as many words as values */
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++, stream += taps * depth) {
        const int32_t row = kt_output_at(window, KT_Y, at->y, ky);
        if (row < 0) {
            continue;
        }
        if (first == 0) {
            kt_fill_columns(walk, row, met - ahead, columns);
        }
        for (kx = 0; kx < taps; kx++) {
            const int32_t distance = left - kx * window->dilation[KT_X];
            const int32_t column = stride == 1 ? distance : distance / stride;
            const int32_t *const panel = walk->panel + 2 * (column - met + ahead);
            const int32_t *const weights = stream + kx * depth;
            if (column * stride != distance) {
                continue;
            }
            if (one) {
                kt_product_backward_row(walk->sums, end, panel, walk->quads, weights, step, 2);
            } else {
                kt_product_backward(walk->sums, end, panel, walk->quads, weights, step, 2 * columns);
            }
        }
    }
}

static __attribute__((noinline)) void kt_shared_positions(const kt_shared_walk *walk, const kt_positions *at)
{
    const kt_window *const window = &walk->window;
    const int32_t depth = window->input[KT_CHANNELS], step = window->stride[KT_X] * depth;
    const int32_t half = (int32_t)(UINT32_C(1) << (walk->params->shift - 1));
    const int one = at->count == 1 && walk->columns == KT_GROUP; /* no tap takes another column */
    const int32_t block = one ? walk->room : walk->room / KT_GROUP;
    int8_t *const dx = walk->dx + (at->y * window->input[KT_X] + at->x) * depth;
    int32_t first;
    for (first = 0; first < depth; first += block) {
        const int32_t count = kt_minimum(depth - first, block);
        const int32_t sums = one ? count : KT_GROUP * count;
        kt_start_sums(walk->sums, half, sums);
        kt_add_taps(walk, at, first, walk->sums + sums, one);
        if (one) {
            kt_store_row(walk, dx + first, count);
        } else {
            kt_store_block(walk, dx + first, step, at->count, count);
        }
    }
}

/* Row by row, in groups of four positions of each phase. */
static inline void kt_walk_shared(const kt_shared_walk *walk)
{
    const kt_window *const window = &walk->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t stride = window->stride[KT_X];
    const int32_t groups = kt_divide_up(width, KT_GROUP * stride);
    const int32_t direction = kt_direction(walk->g, walk->dx);
    kt_positions at;
    int32_t i, phase;
    for (at.y = kt_first(direction, height); kt_within(at.y, height); at.y += direction) {
        for (i = kt_first(direction, groups); kt_within(i, groups); i += direction) {
            for (phase = 0; phase < stride; phase++) {
                at.x = KT_GROUP * stride * i + phase;
                at.count = kt_minimum(kt_divide_up(width - at.x, stride), KT_GROUP);
                if (at.count > 0) {
                    kt_shared_positions(walk, &at);
                }
            }
        }
    }
}

/* A function of its own, so that the others do without the panel. */
static __attribute__((noinline)) void kt_walk_on_stack(const kt_shared_walk *walk)
{
    int32_t panel[KT_SMALL_PANEL];
    kt_shared_walk own = *walk;
    own.panel = panel;
    kt_walk_shared(&own);
}

/* Where every position meets its own gradient and nothing else they are all neighbours. */
static inline void kt_join_rows(kt_window *window)
{
    if (window->kernel[KT_Y] == 1 && window->kernel[KT_X] == 1 && window->stride[KT_Y] == 1 && window->stride[KT_X] == 1 &&
        window->pad[KT_Y] == 0 && window->pad[KT_X] == 0 && window->input[KT_X] == window->output[KT_X]) {
        window->input[KT_X] *= window->input[KT_Y];
        window->output[KT_X] *= window->output[KT_Y];
        window->input[KT_Y] = 1;
        window->output[KT_Y] = 1;
    }
}

void kt_shared_input_gradient_s8(const kt_shared_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    int32_t block[KT_BLOCK_SUMS];
    kt_shared_walk walk = {params, params->window, g, dx, 0, 0, scratch, block, KT_BLOCK_SUMS};
    kt_window *const window = &walk.window;
    kt_join_rows(window);
    walk.quads = (window->output[KT_CHANNELS] + KT_FOUR - 1) / KT_FOUR;
    walk.columns = kt_divide_up((window->kernel[KT_X] - 1) * window->dilation[KT_X], window->stride[KT_X]) + KT_GROUP;
    if (scratch == NULL) {
        kt_walk_on_stack(&walk);
        return;
    }
    if (window->kernel[KT_Y] * window->kernel[KT_X] > 1) {
        walk.sums = walk.panel + 2 * walk.columns * walk.quads;
        walk.room = KT_GROUP * window->input[KT_CHANNELS];
    }
    kt_walk_shared(&walk);
}
