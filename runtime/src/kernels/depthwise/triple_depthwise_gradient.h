/* triple_depthwise_gradient.h: the gradient of a depthwise delta with three sums in two words (product/triple.h): the values under three kernel
 * rows of one channel make two words, which are multiplied by the gradients of a tile of results.
 *
 * A tile has 32 results at most: 32 * 127 * 255 < 2^20. */
#ifndef KT_TRIPLE_DEPTHWISE_GRADIENT_H
#define KT_TRIPLE_DEPTHWISE_GRADIENT_H

#include "../../product/triple.h"
#include "depthwise_weight_gradient.h"

enum { KT_TILE_ROWS = 4, KT_TILE_COLUMNS = 8, KT_TILE_REACH = 20, KT_KERNEL_ROWS = 3, KT_MOST_KERNEL = 7 };

/* Results of one channel from (y, x) on. reach: columns under their windows. */
typedef struct {
    int32_t y, x, rows, columns;
    int32_t reach;
} kt_gradient_tile;

/* Whether the values under a row of a tile have room, and the sums of three kernel rows. */
static inline int kt_has_triple_taps(const kt_depthwise_weight_gradient_params *params)
{
    const kt_window *const window = &params->window;
    const int32_t reach = (KT_TILE_COLUMNS - 1) * window->stride[KT_X] + (window->kernel[KT_X] - 1) * window->dilation[KT_X] + 1;
    return params->depth_multiplier == 1 && reach <= KT_TILE_REACH && window->kernel[KT_X] <= KT_MOST_KERNEL;
}

/* A value without its zero point, 0 outside. */
static inline uint32_t kt_tile_value(const kt_depthwise_weight_gradient_params *params, const int8_t *x, int32_t iy, int32_t ix)
{
    const kt_window *const window = &params->window;
    if (iy < 0 || iy >= window->input[KT_Y] || ix < 0 || ix >= window->input[KT_X]) {
        return 0;
    }
    return (uint32_t)(x[(iy * window->input[KT_X] + ix) * window->input[KT_CHANNELS]] + params->input_offset);
}

/* Words [reach][KT_TILE_ROWS][2] of the kernel rows from `ky` on, `count` of them. */
static inline void kt_fill_tile(const kt_depthwise_weight_gradient_params *params, const int8_t *x, const kt_gradient_tile *tile, int32_t ky,
                                int32_t count, uint32_t *words)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], offset = params->input_offset;
    const int32_t top = tile->y * window->stride[KT_Y] - window->pad[KT_Y] + ky * window->dilation[KT_Y];
    const int32_t left = tile->x * window->stride[KT_X] - window->pad[KT_X];
    const int32_t down = window->dilation[KT_Y], step = window->stride[KT_Y];
    const int32_t last = top + (tile->rows - 1) * step + 2 * down;
    const int32_t inside = count == KT_KERNEL_ROWS && top >= 0 && last < window->input[KT_Y];
    const int32_t second = down * width * channels, third = 2 * second;
    int32_t column, row;
    for (column = 0; column < tile->reach; column++, words += 2 * KT_TILE_ROWS) {
        const int32_t ix = left + column;
        uint32_t *word = words;
        if (inside && ix >= 0 && ix < width) {
            const int8_t *value = x + (top * width + ix) * channels;
            for (row = tile->rows; row > 0; row--, word += 2, value += step * width * channels) {
                const uint32_t middle = (uint32_t)(value[second] + offset);
                word[0] = (uint32_t)(value[0] + offset) + (middle << 10);
                word[1] = (uint32_t)(value[third] + offset) + (middle << 21);
            }
        } else {
            for (row = 0; row < tile->rows; row++, word += 2) {
                const int32_t iy = top + row * step;
                const uint32_t middle = count > 1 ? kt_tile_value(params, x, iy + down, ix) : 0;
                word[0] = kt_tile_value(params, x, iy, ix) + (middle << 10);
                word[1] = (count > 2 ? kt_tile_value(params, x, iy + 2 * down, ix) : 0) + (middle << 21);
            }
        }
    }
}

/* Adds the sums of three kernel rows and one kernel column, [3]; words: from the column's on. */
static inline void kt_add_tile(const uint32_t *words, int32_t stride, const int32_t *g, const kt_gradient_tile *tile, int32_t sums[KT_KERNEL_ROWS])
{
    uint32_t found[2] = {0, 0};
    int32_t three[KT_KERNEL_ROWS];
    int32_t column, i;
    for (column = tile->columns; column > 0; column--, words += 2 * KT_TILE_ROWS * stride, g += KT_TILE_ROWS) {
        if (tile->rows == KT_TILE_ROWS) {
            const uint32_t g0 = (uint32_t)g[0], g1 = (uint32_t)g[1], g2 = (uint32_t)g[2], g3 = (uint32_t)g[3];
            found[0] += words[0] * g0 + words[2] * g1 + words[4] * g2 + words[6] * g3;
            found[1] += words[1] * g0 + words[3] * g1 + words[5] * g2 + words[7] * g3;
        } else {
            for (i = 0; i < tile->rows; i++) {
                found[0] += words[2 * i] * (uint32_t)g[i];
                found[1] += words[2 * i + 1] * (uint32_t)g[i];
            }
        }
    }
    kt_three_sums(found, three);
    for (i = 0; i < KT_KERNEL_ROWS; i++) {
        sums[i] += three[i];
    }
}

/* One channel and three kernel rows at most, from `ky` on: sums [kernel columns][3]. */
static void kt_channel_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x, int32_t ky, int32_t count,
                                int32_t *sums)
{
    const kt_window *const window = &params->window;
    const int32_t height = window->output[KT_Y], width = window->output[KT_X], channels = window->output[KT_CHANNELS];
    const int32_t taps = window->kernel[KT_X], stride = window->stride[KT_X], apart = 2 * KT_TILE_ROWS * window->dilation[KT_X];
    uint32_t words[2 * KT_TILE_ROWS * KT_TILE_REACH];
    int32_t gradients[KT_TILE_ROWS * KT_TILE_COLUMNS];
    kt_gradient_tile tile;
    int32_t row, column, kx;
    for (tile.y = 0; tile.y < height; tile.y += KT_TILE_ROWS) {
        tile.rows = kt_minimum(height - tile.y, KT_TILE_ROWS);
        for (tile.x = 0; tile.x < width; tile.x += KT_TILE_COLUMNS) {
            const int8_t *from = g + (tile.y * width + tile.x) * channels;
            tile.columns = kt_minimum(width - tile.x, KT_TILE_COLUMNS);
            tile.reach = (tile.columns - 1) * stride + (taps - 1) * window->dilation[KT_X] + 1;
            for (column = 0; column < tile.columns; column++, from += channels) {
                for (row = 0; row < tile.rows; row++) {
                    gradients[KT_TILE_ROWS * column + row] = from[row * width * channels];
                }
            }
            kt_fill_tile(params, x, &tile, ky, count, words);
            for (kx = 0; kx < taps; kx++) {
                kt_add_tile(words + kx * apart, stride, gradients, &tile, sums + KT_KERNEL_ROWS * kx);
            }
        }
    }
}

#ifndef KT_SMALL
/* A window of three by three without strides: the taps along one axis are the lanes of the words, and each word is met by the gradients of the
 * three results along the other one. */
enum { KT_WALKED_TAPS = 3, KT_WALKED_INPUTS = 32 };

/* Words [3][2] of the taps of a walk over `count` inputs, from `first` on. x: the first of the three lanes at input 0, `lane` bytes apart; g: result
 * 0. */
static void KT_IN_ORDER kt_walk_words(const kt_depthwise_axis *axis, const int8_t *x, int32_t lane, const int8_t *g, uint32_t offset, int32_t first,
                                      int32_t count, uint32_t *words)
{
    const int32_t step = axis->x_step, down = axis->g_step, outputs = axis->outputs, met = first + axis->pad;
    const uint32_t near = offset + (offset << 10), far = offset + (offset << 21);
    int32_t more = kt_minimum(count, kt_maximum(outputs - 1 - met, 0)); /* inputs behind which there is a next result */
    uint32_t a = met < outputs ? (uint32_t)g[met * down] : 0;
    uint32_t b = kt_within(met - 1, outputs) ? (uint32_t)g[(met - 1) * down] : 0;
    uint32_t c = kt_within(met - 2, outputs) ? (uint32_t)g[(met - 2) * down] : 0;
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0;
#define KT_WALK_INPUT \
    do { \
        const uint32_t middle = (uint32_t)x[lane]; \
        const uint32_t w0 = (uint32_t)x[0] + (middle << 10) + near, w1 = (uint32_t)x[2 * lane] + (middle << 21) + far; \
        a0 += w0 * a; \
        a1 += w1 * a; \
        b0 += w0 * b; \
        b1 += w1 * b; \
        c0 += w0 * c; \
        c1 += w1 * c; \
        c = b; \
        b = a; \
        x += step; \
    } while (0)
    count -= more;
    x += first * step;
    for (g += met * down; more > 0; more--) {
        KT_WALK_INPUT;
        g += down;
        a = (uint32_t)*g;
    }
    for (; count > 0; count--) {
        KT_WALK_INPUT;
        a = 0;
    }
#undef KT_WALK_INPUT
    words[0] = a0;
    words[1] = a1;
    words[2] = b0;
    words[3] = b1;
    words[4] = c0;
    words[5] = c1;
}

/* Adds the sums of one channel: [walked tap][tap of the lanes]. */
static void kt_walked_gradient(const kt_depthwise_axis *walk, const kt_depthwise_axis *lanes, const int8_t *g, const int8_t *x, uint32_t offset,
                               int32_t *sums)
{
    int32_t result, first, tap, i;
    for (result = 0; result < lanes->outputs; result++) {
        const int32_t left = result - lanes->pad, start = kt_clamp(left, 0, lanes->inputs - KT_WALKED_TAPS);
        for (first = 0; first < walk->inputs; first += KT_WALKED_INPUTS) {
            const int32_t count = kt_minimum(walk->inputs - first, KT_WALKED_INPUTS);
            uint32_t words[2 * KT_WALKED_TAPS];
            kt_walk_words(walk, x + start * lanes->x_step, lanes->x_step, g + result * lanes->g_step, offset, first, count, words);
            for (tap = 0; tap < KT_WALKED_TAPS; tap++) {
                int32_t three[3];
                kt_three_sums(words + 2 * tap, three);
                if (left == start) {
                    sums[3 * tap] += three[0];
                    sums[3 * tap + 1] += three[1];
                    sums[3 * tap + 2] += three[2];
                    continue;
                }
                for (i = kt_maximum(start - left, 0); i < kt_minimum(start - left + 3, 3); i++) { /* taps inside the image */
                    sums[3 * tap + i] += three[left - start + i];
                }
            }
        }
    }
}

/* Whether there is a walk, and lanes beside each other. */
static inline int kt_is_walked(const kt_window *window)
{
    return window->kernel[KT_Y] == KT_WALKED_TAPS && window->kernel[KT_X] == KT_WALKED_TAPS && window->stride[KT_Y] == 1 &&
           window->stride[KT_X] == 1 && window->dilation[KT_Y] == 1 && window->dilation[KT_X] == 1 &&
           kt_minimum(window->input[KT_Y], window->input[KT_X]) >= KT_WALKED_TAPS;
}

static void kt_walked_depthwise_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale,
                                         float *accumulator)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int down = window->output[KT_Y] >= window->output[KT_X]; /* along the longer axis */
    const kt_depthwise_axis rows = kt_depthwise_axis_of(window, KT_Y), columns = kt_depthwise_axis_of(window, KT_X);
    const int32_t along = down ? KT_WALKED_TAPS : 1, across = down ? 1 : KT_WALKED_TAPS;
    const kt_float_factor factor = kt_factor_of(scale);
    int32_t c, tap, i;
    for (c = 0; c < channels; c++) {
        const int32_t column = kt_delta_column(params, c);
        int32_t sums[KT_WALKED_TAPS * KT_WALKED_TAPS] = {0};
        if (column < 0) {
            continue;
        }
        kt_walked_gradient(down ? &rows : &columns, down ? &columns : &rows, g + c, x + c, (uint32_t)params->input_offset, sums);
        for (tap = 0; tap < KT_WALKED_TAPS; tap++) {
            for (i = 0; i < KT_WALKED_TAPS; i++) {
                float *const entry = accumulator + (tap * along + i * across) * params->columns + column;
                *entry = kt_add_scaled_sum(*entry, sums[KT_WALKED_TAPS * tap + i], &factor);
            }
        }
    }
}

#endif

static inline void kt_triple_depthwise_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale,
                                                float *accumulator)
{
    const kt_window *const window = &params->window;
    const int32_t taps = window->kernel[KT_X];
    int32_t c, ky, kx, row;
#ifndef KT_SMALL
    if (kt_is_walked(window)) {
        kt_walked_depthwise_gradient(params, g, x, scale, accumulator);
        return;
    }
#endif
    for (c = 0; c < window->output[KT_CHANNELS]; c++) {
        const int32_t column = kt_delta_column(params, c);
        for (ky = 0; ky < window->kernel[KT_Y] && column >= 0; ky += KT_KERNEL_ROWS) {
            const int32_t count = kt_minimum(window->kernel[KT_Y] - ky, KT_KERNEL_ROWS);
            int32_t sums[KT_KERNEL_ROWS * KT_MOST_KERNEL] = {0};
            kt_channel_gradient(params, g + c, x + c, ky, count, sums);
            for (row = 0; row < count; row++) {
                for (kx = 0; kx < taps; kx++) {
                    float *const entry = accumulator + ((ky + row) * taps + kx) * params->columns + column;
                    *entry = kt_accumulate(*entry, sums[KT_KERNEL_ROWS * kx + row], scale);
                }
            }
        }
    }
}

#endif
