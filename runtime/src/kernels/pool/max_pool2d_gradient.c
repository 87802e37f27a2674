/* Gradient of MAX_POOL_2D.
 *
 *     dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)), half up
 *
 * Gathered per input element, so no buffer is needed: a window is searched again by each element it covers, until
 * another element wins. Windows of common networks hardly overlap. */
#include "kt/kernels/pool.h"
#include "../convolution/input_gradient.h"

/* Is the element at input index `self` the first largest of the window at (oy, ox)? x points to the channel. */
static int is_first_largest(const kt_window *window, const int8_t *x, int32_t position, int32_t self)
{
    const int32_t oy = position / window->output[KT_X];
    const int32_t ox = position - oy * window->output[KT_X];
    const kt_taps rows = kt_taps_at(window, KT_Y, oy);
    const kt_taps columns = kt_taps_at(window, KT_X, ox);
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t value = x[self];
    int32_t row, column;
    for (row = 0; row < rows.count; row++) {
        const int32_t iy = rows.index + row * window->dilation[KT_Y];
        int32_t at = (iy * window->input[KT_X] + columns.index) * channels;
        for (column = 0; column < columns.count; column++) {
            if (x[at] > value || (x[at] == value && at < self)) {
                return 0;
            }
            at += window->dilation[KT_X] * channels;
        }
    }
    return 1;
}

/* dx of one channel at input position (y, x); g and input point to the channel. */
static int8_t gather(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *input, int32_t y,
                     int32_t x)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t self = (y * window->input[KT_X] + x) * channels;
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    int32_t sum = 0;
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int32_t gradient = g[meeting.position * channels];
        if (gradient != 0 && is_first_largest(window, input, meeting.position, self)) {
            sum += gradient;
        }
    }
    return kt_saturate8(kt_shift_round(sum, params->shift));
}

void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const kt_window *window = &params->window;
    int32_t iy, ix, c;
    for (iy = 0; iy < window->input[KT_Y]; iy++) {
        for (ix = 0; ix < window->input[KT_X]; ix++) {
            for (c = 0; c < window->input[KT_CHANNELS]; c++) {
                *dx++ = gather(params, g + c, x + c, iy, ix);
            }
        }
    }
}
