/* Gradient of CONV_2D and FULLY_CONNECTED to their input, from the stream that inference reads.
 *
 * Four positions at once, tap after tap: what each of them meets is scaled into a panel, whose products are added to sums of all input
 * channels. Of a 1x1 window the panel stays, so that channels go in blocks and few sums are kept. All four are read before any is written. */
#include "../product/product.h"
#include "scaled_gradient.h"
#include "window.h"

#if KT_DSP
#include "dsp/simd.h"
#endif

enum {
    KT_GROUP = 4,         /* positions */
    KT_BLOCK_SUMS = 64,   /* of a 1x1 window */
    KT_SMALL_PANEL = 128, /* words */
    KT_FOUR = 4           /* channels */
};

typedef struct {
    int32_t count;
    int32_t y[KT_GROUP], x[KT_GROUP];
} kt_positions;

/* sums: of a block of channels, as many as `room`. */
typedef struct {
    const kt_shared_input_gradient_params *params;
    const int8_t *g;
    int8_t *dx;
    int32_t *panel;
    int32_t *sums;
    int32_t room;
} kt_shared_walk;

static inline int32_t kt_fours(int32_t channels)
{
    return (channels + KT_FOUR - 1) / KT_FOUR;
}

/* One position's words of a panel, `next` apart from four channels to the next; zeros where g is NULL. */
static __attribute__((noinline)) void kt_fill_position(const kt_shared_input_gradient_params *params, const int8_t *g, int32_t *word,
                                                       int32_t next)
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

/* The panel of what the positions meet with one tap; 0 where that is nothing. */
static inline int kt_fill_tap(const kt_shared_walk *walk, const kt_positions *at, int32_t ky, int32_t kx)
{
    const kt_window *const window = &walk->params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t columns = at->count == 1 ? 1 : KT_GROUP;
    const int8_t *from[KT_GROUP] = {NULL, NULL, NULL, NULL};
    int met = 0;
    int32_t i;
    for (i = 0; i < at->count; i++) {
        const int32_t oy = kt_output_at(window, KT_Y, at->y[i], ky);
        const int32_t ox = oy < 0 ? -1 : kt_output_at(window, KT_X, at->x[i], kx);
        if (ox >= 0) {
            from[i] = walk->g + (oy * window->output[KT_X] + ox) * channels;
            met = 1;
        }
    }
    for (i = 0; met && i < columns; i++) {
        kt_fill_position(walk->params, from[i], walk->panel + 2 * i, 2 * columns);
    }
    return met;
}

/* Four gradients of their sums, which hold half a unit more. */
static inline void kt_store_gradients(int8_t *dx, int32_t first, int32_t second, int32_t third, int32_t fourth, int32_t shift)
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

/* `count` channels of the positions, from `first` on. */
static inline void kt_store_block(const kt_shared_walk *walk, const kt_positions *at, int32_t first, int32_t count)
{
    const kt_window *const window = &walk->params->window;
    const int32_t shift = walk->params->shift;
    int32_t i, c;
    for (i = 0; i < at->count; i++) {
        int8_t *const dx = walk->dx + (at->y[i] * window->input[KT_X] + at->x[i]) * window->input[KT_CHANNELS] + first;
        const int32_t *sums = walk->sums + i;
        for (c = 0; c < count; c += KT_FOUR) {
            if (at->count == 1) {
                kt_store_gradients(dx + c, sums[c], sums[c + 1], sums[c + 2], sums[c + 3], shift);
            } else { /* pairs of channels lie 2 apart: (0, 2), (1, 3) */
                kt_store_gradients(dx + c, sums[0], sums[8], sums[4], sums[12], shift);
                sums += KT_FOUR * KT_GROUP;
            }
        }
    }
}

static __attribute__((noinline)) void kt_shared_positions(const kt_shared_walk *walk, const kt_positions *at)
{
    const kt_shared_input_gradient_params *const params = walk->params;
    const int32_t rows = params->window.kernel[KT_Y], columns = params->window.kernel[KT_X];
    const int32_t depth = params->window.input[KT_CHANNELS];
    const int32_t quads = kt_fours(params->window.output[KT_CHANNELS]);
    const int32_t each = at->count == 1 ? 1 : KT_GROUP; /* sums of a channel */
    const int32_t half = (int32_t)(UINT32_C(1) << (params->shift - 1));
    int met = 0;
    int32_t first, ky, kx, i;
    for (first = 0; first < depth; first += walk->room / each) {
        const int32_t count = kt_minimum(depth - first, walk->room / each);
        const int32_t *stream = params->stream + first; /* as many words as values */
        int32_t *const end = walk->sums + each * count;
        for (i = 0; i < each * count; i++) {
            walk->sums[i] = half;
        }
        for (ky = 0; ky < rows; ky++) {
            for (kx = 0; kx < columns; kx++, stream += depth) {
                if (first == 0) {
                    met = kt_fill_tap(walk, at, ky, kx);
                }
                if (met && each == 1) {
                    kt_product_backward_row(walk->sums, end, walk->panel, quads, stream, params->step);
                } else if (met) {
                    kt_product_backward(walk->sums, end, walk->panel, quads, stream, params->step);
                }
            }
        }
        kt_store_block(walk, at, first, count);
    }
}

/* Without strides neighbours have the same taps, across the ends of rows too. */
static inline void kt_walk_neighbours(const kt_shared_walk *walk, int32_t direction)
{
    const kt_window *const window = &walk->params->window;
    const int32_t width = window->input[KT_X];
    const int32_t positions = window->input[KT_Y] * width;
    int32_t done, i;
    for (done = 0; done < positions; done += KT_GROUP) {
        kt_positions at;
        int32_t first;
        at.count = kt_minimum(positions - done, KT_GROUP);
        first = direction > 0 ? done : positions - done - at.count;
        at.y[0] = first / width;
        at.x[0] = first - at.y[0] * width;
        for (i = 1; i < at.count; i++) {
            const int next = at.x[i - 1] + 1 == width;
            at.y[i] = at.y[i - 1] + next;
            at.x[i] = next ? 0 : at.x[i - 1] + 1;
        }
        kt_shared_positions(walk, &at);
    }
}

/* Row by row, in groups of four positions of each phase. */
static inline void kt_walk_phases(const kt_shared_walk *walk, int32_t direction)
{
    const kt_window *const window = &walk->params->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t step = window->stride[KT_X];
    const int32_t groups = kt_divide_up(width, KT_GROUP * step);
    int32_t y, i, phase;
    for (y = kt_first(direction, height); kt_within(y, height); y += direction) {
        for (i = kt_first(direction, groups); kt_within(i, groups); i += direction) {
            for (phase = 0; phase < step; phase++) {
                int32_t x = KT_GROUP * step * i + phase;
                kt_positions at;
                for (at.count = 0; at.count < KT_GROUP && x < width; at.count++, x += step) {
                    at.y[at.count] = y;
                    at.x[at.count] = x;
                }
                if (at.count > 0) {
                    kt_shared_positions(walk, &at);
                }
            }
        }
    }
}

static inline void kt_walk_shared(const kt_shared_walk *walk)
{
    const kt_window *const window = &walk->params->window;
    const int32_t direction = kt_direction(walk->g, walk->dx);
    if (window->stride[KT_Y] == 1 && window->stride[KT_X] == 1) {
        kt_walk_neighbours(walk, direction);
    } else {
        kt_walk_phases(walk, direction);
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

void kt_shared_input_gradient_s8(const kt_shared_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    const kt_window *const window = &params->window;
    int32_t block[KT_BLOCK_SUMS];
    kt_shared_walk walk = {params, g, dx, scratch, block, KT_BLOCK_SUMS};
    if (scratch == NULL) {
        kt_walk_on_stack(&walk);
        return;
    }
    if (window->kernel[KT_Y] * window->kernel[KT_X] > 1) {
        walk.sums = walk.panel + 2 * KT_GROUP * kt_fours(window->output[KT_CHANNELS]);
        walk.room = KT_GROUP * window->input[KT_CHANNELS];
    }
    kt_walk_shared(&walk);
}
