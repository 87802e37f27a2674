/* Gradient of MAX_POOL_2D.
 *
 *     dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)), half up
 *
 * Windows that share no element give theirs to the first largest one each, behind zeros. Else dx is gathered for each element of the input, so no
 * buffer is needed: the windows that cover a position are the same in all channels, and each is searched until another element wins. */
#include <string.h>

#include "kt/kernels/pool.h"
#include "../convolution/input_gradient.h"
#include "../window.h"

/* What lies under a window: bytes from x to its first element, its rows and columns, and bytes from one to the next of each. */
typedef struct {
    int32_t first, rows, columns, row, column;
} covered;

static covered covered_at(const kt_window *window, int32_t oy, int32_t ox)
{
    const kt_taps rows = kt_taps_at(window, KT_Y, oy), columns = kt_taps_at(window, KT_X, ox);
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels;
    const covered found = {rows.index * line + columns.index * channels, rows.count, columns.count, window->dilation[KT_Y] * line,
                           window->dilation[KT_X] * channels};
    return found;
}

/* Whether windows along an axis share no element. */
static int are_apart(const kt_window *window, int axis)
{
    return window->output[axis] == 1 || (window->kernel[axis] - 1) * window->dilation[axis] < window->stride[axis];
}

/* Bytes from x to the first largest element of a channel. */
static inline int32_t first_largest(const covered *under, const int8_t *x)
{
    int32_t largest = INT8_MIN - 1, where = 0, row, column, at;
    for (row = 0; row < under->rows; row++) {
        at = under->first + row * under->row;
        for (column = under->columns; column > 0; column--, at += under->column) {
            if (x[at] > largest) {
                largest = x[at];
                where = at;
            }
        }
    }
    return where;
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
                    dx[first_largest(&under, x + c) + c] = kt_saturate8(kt_shift_round(g[c], params->shift));
                }
            }
        }
    }
}

/* Is the element at index `self` the first largest of a window? x points to the channel. */
static inline int is_first_largest(const covered *under, const int8_t *x, int32_t self)
{
    const int32_t value = x[self];
    int32_t row, column, at;
    for (row = 0; row < under->rows; row++) {
        at = under->first + row * under->row;
        for (column = under->columns; column > 0; column--, at += under->column) {
            if (x[at] > value || (x[at] == value && at < self)) {
                return 0;
            }
        }
    }
    return 1;
}

/* Windows that cover a position are taken so many at a time. */
enum { MOST_WINDOWS = 8 };

/* The next windows that cover a position. gradients: bytes from g to each one's. */
typedef struct {
    covered under[MOST_WINDOWS];
    int32_t gradients[MOST_WINDOWS];
    int32_t count;
} covering;

static int next_windows(const kt_window *window, kt_meeting_walk *walk, covering *found)
{
    kt_meeting meeting;
    for (found->count = 0; found->count < MOST_WINDOWS && kt_next_meeting(window, walk, &meeting); found->count++) {
        const int32_t oy = meeting.position / window->output[KT_X];
        found->under[found->count] = covered_at(window, oy, meeting.position - oy * window->output[KT_X]);
        found->gradients[found->count] = meeting.position * window->input[KT_CHANNELS];
    }
    return found->count > 0;
}

/* The sum of a channel's gradients of windows whose first largest element is that at index `self`. */
static inline int32_t gathered(const covering *windows, const int8_t *g, const int8_t *x, int32_t self)
{
    int32_t sum = 0, i;
    for (i = 0; i < windows->count; i++) {
        const int32_t gradient = g[windows->gradients[i]];
        if (gradient != 0 && is_first_largest(&windows->under[i], x, self)) {
            sum += gradient;
        }
    }
    return sum;
}

/* Channels whose sums wait for more windows than are taken at once. */
enum { WAITING = 16 };

/* dx of `count` channels at position (y, x). */
static void gather(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int32_t iy, int32_t ix, int32_t count, int8_t *dx)
{
    const int32_t self = (iy * params->window.input[KT_X] + ix) * params->window.input[KT_CHANNELS];
    kt_meeting_walk walk = kt_meetings_of(iy, ix);
    int32_t sums[WAITING] = {0};
    covering windows;
    int32_t c;
    while (next_windows(&params->window, &walk, &windows)) {
        for (c = 0; c < count; c++) {
            sums[c] += gathered(&windows, g + c, x + c, self);
        }
    }
    for (c = 0; c < count; c++) {
        dx[c] = kt_saturate8(kt_shift_round(sums[c], params->shift));
    }
}

void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t iy, ix, c;
    if (are_apart(window, KT_Y) && are_apart(window, KT_X)) {
        scatter(params, g, x, dx);
        return;
    }
    for (iy = 0; iy < window->input[KT_Y]; iy++) {
        for (ix = 0; ix < window->input[KT_X]; ix++) {
            for (c = 0; c < channels; c += WAITING) {
                gather(params, g + c, x + c, iy, ix, kt_minimum(channels - c, WAITING), dx + c);
            }
            dx += channels;
        }
    }
}
