/* Gradient of DEPTHWISE_CONV_2D with a trained delta V to its input.
 *
 *     dx[k] = saturate8(shift_round(frozen[k] + requantize(sum over windows and the results c of channel k of
 *             g[c] * V[tap, c]), shift)), frozen the sums of depthwise_input_gradient.h
 *
 * The delta's share is brought to units of the frozen sums (rounded twice, +-2^30), the total saturates at int32. */
#include <stddef.h>

#include "depthwise_input_gradient.h"

/* row[k] = the sums of the delta at one input position. */
static void gather_delta(const kt_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *delta,
                         int32_t y, int32_t x, int32_t *row)
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

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t path_shift = params->path_shift + *delta_exponent;
    int32_t *frozen = (int32_t *)scratch;
    int32_t *path = frozen + channels;
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            kt_depthwise_gather(params, g, &trained, y, x, frozen);
            gather_delta(params, delta_g, delta, y, x, path);
            for (k = 0; k < channels; k++) {
                const int32_t scaled = kt_requantize(path[k], params->path_multiplier, path_shift);
                const int32_t addend = kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
                result[k] = kt_saturate8(kt_shift_round(kt_add_saturated(frozen[k], addend), params->shift));
            }
        }
    }
}
