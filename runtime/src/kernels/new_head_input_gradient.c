/* Gradient of a new head to its input: the sums of kt_conv2d_path_input_gradient_s8, brought to int8 by the power of two that just fits.
 *
 * What a head that starts near zero hands on grows with it, so the power is found for each sample. Two passes over the sums instead of
 * a buffer: a head is small beside the layers before it. */
#include "conv2d_input_gradient.h"
#include "path_gradient.h"

/* The magnitude of the largest sum; dx: takes the results too, unless it is NULL. */
static uint32_t walk(const kt_conv2d_input_gradient_params *params, const int8_t *g, const kt_gain *gain, const kt_path *path,
                     int32_t direction, int32_t shift, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    uint32_t largest = 0;
    int32_t sums[KT_GATHER_BLOCK];
    int32_t y, x, first, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            for (first = 0; first < channels; first += KT_GATHER_BLOCK) {
                const int32_t count = kt_minimum(channels - first, KT_GATHER_BLOCK);
                kt_conv2d_gather(params, g, gain, y, x, first, count, sums);
                kt_add_path(window, path, sums, y, x, first, count);
                for (k = 0; k < count; k++) {
                    const uint32_t magnitude = kt_magnitude(sums[k]);
                    largest = magnitude > largest ? magnitude : largest;
                    if (dx != NULL) {
                        dx[(y * window->input[KT_X] + x) * channels + first + k] = kt_saturate8(kt_shift_round(sums[k], shift));
                    }
                }
            }
        }
    }
    return largest;
}

void kt_new_head_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int32_t *exponent,
                                   const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g, const int8_t *delta,
                                   const int8_t *delta_exponent, int8_t *dx, int32_t *dx_exponent)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_path path = {delta_g, delta, params->path_channels, params->path_rows, params->path_multiplier, params->path_shift + *delta_exponent};
    const int32_t direction = kt_direction(g, dx);
    const int32_t shift = kt_maximum(kt_bit_length(walk(params, g, &trained, &path, direction, 0, NULL)) - 7, 0);
    walk(params, g, &trained, &path, direction, shift, dx);
    *dx_exponent = *exponent + shift;
}
