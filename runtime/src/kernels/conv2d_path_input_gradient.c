/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA or a delta to their input: the frozen path plus the trained one.
 *
 *     dx = saturate8(shift_round(W^T G' + requantize(V^T g), shift)), V and g of the delta, or A and du of LoRA
 *
 * The trained path is brought to units of the frozen one (rounded twice, +-2^30), the total saturates at int32. */
#include <stddef.h>

#include "conv2d_input_gradient.h"

/* row[k] = sum over the windows that cover (y, x), and over c, of gradient[c] * weights[row of c, tap, first + k]. */
static void gather_path(const kt_conv2d_input_gradient_params *params, const int8_t *gradient, const int8_t *weights,
                        int32_t y, int32_t x, int32_t first, int32_t count, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t size = window->input[KT_CHANNELS];
    const int32_t channels = params->path_channels;
    const int32_t step = kt_kernel_size(window);
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)count * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *g = gradient + meeting.position * channels;
        int32_t c;
        for (c = 0; c < channels; c++) {
            const int32_t index = params->path_rows == NULL ? c : params->path_rows[c];
            if (g[c] != 0 && index >= 0) {
                kt_add_row(row, weights + (index * step + meeting.tap * size + first), g[c], count);
            }
        }
    }
}

/* dx of `count` channels from both sums. */
static void add_path(const kt_conv2d_input_gradient_params *params, const int32_t *frozen, const int32_t *path,
                     int32_t exponent, int32_t count, int8_t *dx)
{
    int32_t k;
    for (k = 0; k < count; k++) {
        const int32_t scaled = kt_requantize(path[k], params->path_multiplier, params->path_shift + exponent);
        const int32_t addend = kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
        dx[k] = kt_saturate8(kt_shift_round(kt_add_saturated(frozen[k], addend), params->shift));
    }
}

void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g,
                                      const int8_t *gain, const int8_t *gain_exponent, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights,
                                      const int8_t *weights_exponent, int8_t *dx)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    int32_t frozen[KT_GATHER_BLOCK];
    int32_t path[KT_GATHER_BLOCK];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, first;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            for (first = 0; first < channels; first += KT_GATHER_BLOCK) {
                const int32_t count = kt_minimum(channels - first, KT_GATHER_BLOCK);
                kt_conv2d_gather(params, g, &trained, y, x, first, count, frozen);
                gather_path(params, path_g, path_weights, y, x, first, count, path);
                add_path(params, frozen, path, exponent, count, result + first);
            }
        }
    }
}
