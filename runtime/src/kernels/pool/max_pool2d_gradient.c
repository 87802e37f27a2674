/* Gradient of MAX_POOL_2D.
 *
 *     dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)), half up
 *
 * Windows that share no element give theirs to the first largest one each, behind zeros. Else dx is gathered for each element of the input from the
 * windows that cover it: scratch keeps the tap of each one's first largest element, of as many rows of windows as cover a row of the input. */
#include <string.h>

#include "kt/kernels/pool.h"
#include "../convolution/input_gradient.h"
#include "../window.h"

/* What lies under a window: bytes from x to its first element, its rows and columns, and bytes from one to the next of each; the tap of its first
 * element. */
typedef struct {
    int32_t first, rows, columns, row, column, tap;
} covered;

static covered covered_at(const kt_window *window, int32_t oy, int32_t ox)
{
    const kt_taps rows = kt_taps_at(window, KT_Y, oy), columns = kt_taps_at(window, KT_X, ox);
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels;
    const covered found = {rows.index * line + columns.index * channels, rows.count, columns.count, window->dilation[KT_Y] * line,
                           window->dilation[KT_X] * channels, rows.first * window->kernel[KT_X] + columns.first};
    return found;
}

/* The first largest element of a channel. */
typedef struct {
    int32_t at; /* bytes from x */
    int32_t tap;
} largest;

static inline largest first_largest(const covered *under, int32_t width, const int8_t *x)
{
    largest found = {under->first, under->tap};
    int32_t value = INT8_MIN - 1, row, column, at;
    for (row = 0; row < under->rows; row++) {
        at = under->first + row * under->row;
        for (column = 0; column < under->columns; column++, at += under->column) {
            if (x[at] > value) {
                value = x[at];
                found.at = at;
                found.tap = under->tap + row * width + column;
            }
        }
    }
    return found;
}

static void scatter(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t oy, ox, c;
    memset(dx, 0, (size_t)(window->input[KT_Y] * window->input[KT_X] * channels));
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        for (ox = 0; ox < window->output[KT_X]; ox++, g += channels) {
            const covered under = covered_at(window, oy, ox);
            for (c = 0; c < channels && under.rows > 0 && under.columns > 0; c++) {
                if (g[c] != 0) {
                    dx[first_largest(&under, window->kernel[KT_X], x + c).at + c] = kt_saturate8(kt_shift_round(g[c], params->shift));
                }
            }
        }
    }
}

/* The taps of a row of windows. */
static void find_taps(const kt_window *window, int32_t oy, const int8_t *x, uint16_t *taps)
{
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t ox, c;
    for (ox = 0; ox < window->output[KT_X]; ox++) {
        const covered under = covered_at(window, oy, ox);
        for (c = 0; c < channels; c++) {
            *taps++ = (uint16_t)first_largest(&under, window->kernel[KT_X], x + c).tap;
        }
    }
}

/* Windows that cover a position are taken so many at a time, and so many channels whose sums wait for more of them. */
enum { MOST_WINDOWS = 8, WAITING = 64 };

/* The next windows that cover a position: the tap of that in each, where its gradients are, and where its taps. */
typedef struct {
    int32_t tap[MOST_WINDOWS];
    const int8_t *gradients[MOST_WINDOWS];
    const uint16_t *taps[MOST_WINDOWS];
    int32_t count;
} covering;

/* What all positions share. taps: [kept][output width][channels], row oy at oy modulo `kept`. */
typedef struct {
    const kt_pool2d_gradient_params *params;
    const int8_t *g;
    uint16_t *taps;
    int32_t kept;
} found_taps;

static int next_windows(const found_taps *found, kt_meeting_walk *walk, covering *windows)
{
    const kt_window *const window = &found->params->window;
    const int32_t width = window->output[KT_X], channels = window->input[KT_CHANNELS];
    kt_meeting meeting;
    for (windows->count = 0; windows->count < MOST_WINDOWS && kt_next_meeting(window, walk, &meeting); windows->count++) {
        const int32_t oy = meeting.position / width, ox = meeting.position - oy * width;
        windows->tap[windows->count] = meeting.tap;
        windows->gradients[windows->count] = found->g + meeting.position * channels;
        windows->taps[windows->count] = found->taps + (oy % found->kept * width + ox) * channels;
    }
    return windows->count > 0;
}

/* dx of `count` channels from `first` on at position (iy, ix). */
static void gather(const found_taps *found, int32_t iy, int32_t ix, int32_t first, int32_t count, int8_t *dx)
{
    kt_meeting_walk walk = kt_meetings_of(iy, ix);
    int32_t sums[WAITING];
    covering windows;
    int32_t c, i;
    memset(sums, 0, (size_t)count * sizeof *sums);
    while (next_windows(found, &walk, &windows)) {
        for (i = 0; i < windows.count; i++) {
            const int8_t *const g = windows.gradients[i] + first;
            const uint16_t *const taps = windows.taps[i] + first;
            const int32_t tap = windows.tap[i];
            for (c = 0; c < count; c++) {
                sums[c] += taps[c] == tap ? g[c] : 0;
            }
        }
    }
    for (c = 0; c < count; c++) {
        dx[c] = sums[c] == 0 ? 0 : kt_saturate8(kt_shift_round(sums[c], found->params->shift));
    }
}

void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, void *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], height = window->output[KT_Y], row = window->output[KT_X] * channels;
    const found_taps found = {params, g, scratch, (window->kernel[KT_Y] - 1) * window->dilation[KT_Y] / window->stride[KT_Y] + 1};
    int32_t next = 0, iy, ix, c;
    if (scratch == NULL) {
        scatter(params, g, x, dx);
        return;
    }
    for (iy = 0; iy < window->input[KT_Y]; iy++) {
        for (; next < height && next * window->stride[KT_Y] <= iy + window->pad[KT_Y]; next++) {
            find_taps(window, next, x, found.taps + next % found.kept * row);
        }
        for (ix = 0; ix < window->input[KT_X]; ix++, dx += channels) {
            for (c = 0; c < channels; c += WAITING) {
                gather(&found, iy, ix, c, kt_minimum(channels - c, WAITING), dx + c);
            }
        }
    }
}
