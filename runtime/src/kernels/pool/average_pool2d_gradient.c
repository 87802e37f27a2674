/* Gradient of AVERAGE_POOL_2D.
 *
 *     dx = saturate8(shift_round(sum of g * m over the windows that cover x, shift)), half up,
 *     m = (2^15 * smallest_count + count / 2) / count
 *
 * Channels are taken in blocks, so that a window's m is found once a block and the sums lie on the stack. A position that
 * the same windows cover as its neighbour is a copy of it: most of them, since windows of pools seldom overlap. What remains is little: it is
 * compiled for size (cold), as loading and writing adapters are. */
#include "kt/kernels/pool.h"
#include "../convolution/input_gradient.h"

enum { BLOCK = 32 };

/* Elements inside the input under the window of a meeting, as the factor m. */
static int32_t window_factor(const kt_pool2d_gradient_params *params, int32_t position)
{
    const kt_window *window = &params->window;
    const int32_t oy = position / window->output[KT_X];
    const int32_t ox = position - oy * window->output[KT_X];
    const int32_t count = kt_taps_at(window, KT_Y, oy).count * kt_taps_at(window, KT_X, ox).count;
    return (32768 * params->smallest_count + count / 2) / count;
}

/* dx of `count` channels at input position (y, x); g points to the first of them at the first window. */
static void spread(const kt_pool2d_gradient_params *params, const int8_t *g, int32_t y, int32_t x, int32_t count,
                   int8_t *dx)
{
    const kt_window *window = &params->window;
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    int32_t sums[BLOCK];
    int32_t c;
    memset(sums, 0, sizeof sums);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *const gradient = g + meeting.position * window->output[KT_CHANNELS];
        const int32_t factor = window_factor(params, meeting.position); /* up to 2^15: kt_add_row holds less */
        for (c = 0; c < count; c++) {
            sums[c] += factor * gradient[c];
        }
    }
    for (c = 0; c < count; c++) {
        dx[c] = kt_saturate8(kt_shift_round(sums[c], params->shift));
    }
}

/* Whether the same windows cover input index i of an axis as i - 1: none begins at i or ends before it. */
static int is_like_previous(const kt_window *window, int axis, int32_t i)
{
    const int32_t last = window->kernel[axis] - 1;
    return i > 0 && window->dilation[axis] == 1 && kt_output_at(window, axis, i, 0) < 0 &&
           kt_output_at(window, axis, i - 1, last) < 0;
}

__attribute__((cold))
void kt_average_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t row = window->input[KT_X] * channels;
    int32_t y, x, c;
    for (y = 0; y < window->input[KT_Y]; y++) {
        if (is_like_previous(window, KT_Y, y)) {
            memcpy(dx, dx - row, (size_t)row);
            dx += row;
            continue;
        }
        for (x = 0; x < window->input[KT_X]; x++, dx += channels) {
            if (is_like_previous(window, KT_X, x)) {
                memcpy(dx, dx - channels, (size_t)channels);
                continue;
            }
            for (c = 0; c < channels; c += BLOCK) {
                spread(params, g + c, y, x, kt_minimum(channels - c, BLOCK), dx + c);
            }
        }
    }
}
