/* max_pool2d_gradient.h: the walk over windows and positions of the gradient of a max pool.
 *
 *     dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)), half up
 *
 * Windows that share no element give theirs to the first largest one each, behind zeros. Else dx is gathered for each element of the input from the
 * windows that cover it: of a block of channels the tap of each one's first largest element is kept, of as many rows of windows as cover a row of the
 * input, on the stack, or in the scratch where eight channels have no room there. */
#ifndef KT_MAX_POOL2D_GRADIENT_H
#define KT_MAX_POOL2D_GRADIENT_H

#include <string.h>

#include "kt/kernels/pool.h"
#include "../convolution/input_gradient.h"
#include "../window.h"

/* What lies under a window: bytes from x to its first element, its rows and columns, and bytes from one to the next of each; the tap of its first
 * element. */
typedef struct {
    int32_t first, rows, columns, row, column, tap;
} kt_covered;

static inline kt_covered kt_covered_at(const kt_window *window, int32_t oy, int32_t ox)
{
    const kt_taps rows = kt_taps_at(window, KT_Y, oy), columns = kt_taps_at(window, KT_X, ox);
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels;
    const kt_covered found = {rows.index * line + columns.index * channels, rows.count, columns.count, window->dilation[KT_Y] * line,
                              window->dilation[KT_X] * channels, rows.first * window->kernel[KT_X] + columns.first};
    return found;
}

/* Windows that cover a position are taken so many at a time, one more than those of 3x3, and so many channels at most, whose sums wait for more of
 * them. */
enum { KT_MOST_WINDOWS = 10, KT_WAITING_CHANNELS = 64 };

/* Taps that are kept on the stack, and channels of a block that has no room there. */
enum { KT_KEPT_TAPS = 512, KT_FEW_CHANNELS = 8 };

/* The next windows that cover a position: the tap of that in each, where its gradients are, and where its taps. */
typedef struct {
    int32_t tap[KT_MOST_WINDOWS];
    const int8_t *gradients[KT_MOST_WINDOWS];
    const uint16_t *taps[KT_MOST_WINDOWS];
    int32_t count;
} kt_covering;

/* What all positions share. g, x: of the first of `count` channels of a block. taps: [kept][output width][count], row oy at oy modulo `kept`. */
typedef struct {
    const kt_pool2d_gradient_params *params;
    const int8_t *g, *x;
    uint16_t *taps;
    int32_t kept, count;
} kt_found_taps;

static inline int kt_next_windows(const kt_found_taps *found, kt_meeting_walk *walk, kt_covering *windows)
{
    const kt_window *const window = &found->params->window;
    const int32_t width = window->output[KT_X], channels = window->input[KT_CHANNELS];
    kt_meeting meeting;
    for (windows->count = 0; windows->count < KT_MOST_WINDOWS && kt_next_meeting(window, walk, &meeting); windows->count++) {
        const int32_t oy = meeting.position / width, ox = meeting.position - oy * width;
        windows->tap[windows->count] = meeting.tap;
        windows->gradients[windows->count] = found->g + meeting.position * channels;
        windows->taps[windows->count] = found->taps + (oy % found->kept * width + ox) * found->count;
    }
    return windows->count > 0;
}

/* dx of a block at position (iy, ix). */
static __attribute__((noinline)) void kt_gather_channels(const kt_found_taps *found, int32_t iy, int32_t ix, int8_t *dx)
{
    kt_meeting_walk walk = kt_meetings_of(iy, ix);
    int32_t sums[KT_WAITING_CHANNELS];
    kt_covering windows;
    int32_t c, i;
    memset(sums, 0, (size_t)found->count * sizeof *sums);
    while (kt_next_windows(found, &walk, &windows)) {
        for (i = 0; i < windows.count; i++) {
            const int8_t *const g = windows.gradients[i];
            const uint16_t *const taps = windows.taps[i];
            const int32_t tap = windows.tap[i];
            for (c = 0; c < found->count; c++) {
                sums[c] += taps[c] == tap ? g[c] : 0;
            }
        }
    }
    for (c = 0; c < found->count; c++) {
        dx[c] = sums[c] == 0 ? 0 : kt_saturate8(kt_shift_round(sums[c], found->params->shift));
    }
}

/* All channels of a window that shares no element with others; a block of them, of the taps of a window and of dx at a position. */
typedef void kt_scatter_window(const kt_pool2d_gradient_params *params, const kt_covered *under, const int8_t *g, const int8_t *x, int8_t *dx);
typedef void kt_find_taps(const kt_found_taps *found, const kt_covered *under, uint16_t *taps);
typedef void kt_gather(const kt_found_taps *found, int32_t iy, int32_t ix, int8_t *dx);

static inline void kt_scatter_walk(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, kt_scatter_window *scatter)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t oy, ox;
    memset(dx, 0, (size_t)(window->input[KT_Y] * window->input[KT_X] * channels));
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        for (ox = 0; ox < window->output[KT_X]; ox++, g += channels) {
            const kt_covered under = kt_covered_at(window, oy, ox);
            if (under.rows > 0 && under.columns > 0) {
                scatter(params, &under, g, x, dx);
            }
        }
    }
}

static inline void kt_gather_block(const kt_found_taps *found, int8_t *dx, kt_find_taps *find, kt_gather *gather)
{
    const kt_window *const window = &found->params->window;
    const int32_t height = window->output[KT_Y], width = window->output[KT_X];
    int32_t next = 0, iy, i;
    for (iy = 0; iy < window->input[KT_Y]; iy++) {
        for (; next < height && next * window->stride[KT_Y] <= iy + window->pad[KT_Y]; next++) {
            for (i = 0; i < width; i++) {
                const kt_covered under = kt_covered_at(window, next, i);
                find(found, &under, found->taps + (next % found->kept * width + i) * found->count);
            }
        }
        for (i = 0; i < window->input[KT_X]; i++, dx += window->input[KT_CHANNELS]) {
            gather(found, iy, i, dx);
        }
    }
}

/* Blocks of channels that windows share elements in. */
static __attribute__((noinline)) void kt_gather_blocks(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx,
                                                       uint16_t *scratch, kt_find_taps *find, kt_gather *gather)
{
    const kt_window *const window = &params->window;
    const int32_t kept = (window->kernel[KT_Y] - 1) * window->dilation[KT_Y] / window->stride[KT_Y] + 1;
    const int32_t room = KT_KEPT_TAPS / (kept * window->output[KT_X]), channels = window->input[KT_CHANNELS];
    const int32_t most = scratch != NULL ? KT_FEW_CHANNELS : kt_minimum(room, KT_WAITING_CHANNELS);
    const int32_t block = most >= channels || most < KT_FEW_CHANNELS ? kt_minimum(most, channels) : most & -KT_FEW_CHANNELS;
    uint16_t taps[KT_KEPT_TAPS];
    int32_t c;
    for (c = 0; c < channels; c += block) {
        const kt_found_taps found = {params, g + c, x + c, scratch != NULL ? scratch : taps, kept, kt_minimum(channels - c, block)};
        kt_gather_block(&found, dx + c, find, gather);
    }
}

/* Whether windows along an axis share no element. */
static inline int kt_windows_apart(const kt_window *window, int axis)
{
    return window->output[axis] == 1 || (window->kernel[axis] - 1) * window->dilation[axis] < window->stride[axis];
}

/* The gradient of any windows, as the core does the parts of it. */
static inline void kt_max_gradient(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, void *scratch,
                                   kt_scatter_window *scatter, kt_find_taps *find, kt_gather *gather)
{
    if (kt_windows_apart(&params->window, KT_Y) && kt_windows_apart(&params->window, KT_X)) {
        kt_scatter_walk(params, g, x, dx, scatter);
    } else {
        kt_gather_blocks(params, g, x, dx, scratch, find, gather);
    }
}

#endif
