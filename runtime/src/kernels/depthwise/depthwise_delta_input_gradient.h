/* depthwise_delta_input_gradient.h: the share of a delta in a depthwise convolution's input gradient, position by position. */
#ifndef KT_DEPTHWISE_DELTA_INPUT_GRADIENT_H
#define KT_DEPTHWISE_DELTA_INPUT_GRADIENT_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "depthwise_input_gradient.h"

/* row[k] = the sums of the delta at one input position. */
static inline void kt_gather_delta(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                   const int8_t *delta, int32_t y, int32_t x, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)window->input[KT_CHANNELS] * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *gradient = g + meeting.position * channels;
        const int8_t *codes = delta + meeting.tap * params->columns;
        int32_t c = 0;
        int32_t k, copy;
        for (k = 0; k < window->input[KT_CHANNELS]; k++) {
            for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
                const int32_t column = params->rows == NULL ? c : params->rows[c];
                row[k] += column < 0 ? 0 : gradient[c] * codes[column];
            }
        }
    }
}

/* The result of both sums of a channel; path_shift: with the delta's exponent. */
static inline int8_t kt_depthwise_delta_result(const kt_depthwise_input_gradient_params *params, int32_t frozen, int32_t path,
                                               int32_t path_shift)
{
    const int32_t scaled = kt_requantize(path, params->path_multiplier, path_shift);
    const int32_t addend = kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
    return kt_saturate8(kt_shift_round(kt_add_saturated(frozen, addend), params->shift));
}

/* Every position; scratch: two sums an input channel. */
static inline void kt_depthwise_delta_walk(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                           const kt_gain *gain, const int8_t *delta_g, const int8_t *delta,
                                           int32_t path_shift, int8_t *dx, int32_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    int32_t *const path = scratch + channels;
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            kt_depthwise_gather(params, g, gain, y, x, scratch);
            kt_gather_delta(params, delta_g, delta, y, x, path);
            for (k = 0; k < channels; k++) {
                result[k] = kt_depthwise_delta_result(params, scratch[k], path[k], path_shift);
            }
        }
    }
}

#endif
