/* depthwise_input_gradient.h: the frozen sums of a depthwise convolution's input gradient, position by position. */
#ifndef KT_DEPTHWISE_INPUT_GRADIENT_H
#define KT_DEPTHWISE_INPUT_GRADIENT_H

#include "kt/kernels/depthwise.h"
#include "../convolution/input_gradient.h"

/* Results that a variant may compute at once, in a byte of scratch each: of a row, or of two rows. */
enum { KT_DEPTHWISE_COLUMNS = 16 };

#if KT_SMALL_DSP
/* row[k] += G'[k] * weights[k] of four channels */
static inline void kt_add_four_gradients(const int16_t *m, int32_t p, uint32_t g, uint32_t w, int32_t *row)
{
    const uint32_t even = kt_even(g), odd = kt_odd(g), even_weights = kt_even(w), odd_weights = kt_odd(w);
    row[0] += (int16_t)kt_prescaled((int16_t)even, m[0], p) * (int16_t)even_weights;
    row[1] += (int16_t)kt_prescaled((int16_t)odd, m[1], p) * (int16_t)odd_weights;
    row[2] += (int16_t)kt_prescaled((int16_t)(even >> 16), m[2], p) * (int16_t)(even_weights >> 16);
    row[3] += (int16_t)kt_prescaled((int16_t)(odd >> 16), m[3], p) * (int16_t)(odd_weights >> 16);
}
#endif

/* row[k] = sum over the windows that cover (y, x), and over the results c of channel k, of G'[c] * weights[tap, c]. */
static inline void kt_depthwise_gather(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                       const kt_gain *gain, int32_t y, int32_t x, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)window->input[KT_CHANNELS] * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *gradient = g + meeting.position * channels;
        const int8_t *weights = params->weights + meeting.tap * channels;
        int32_t c = 0;
        int32_t k = 0;
        int32_t copy;
#if KT_SMALL_DSP
        if (gain == NULL || gain->codes == NULL) {
            for (; params->depth_multiplier == 1 && k + 4 <= channels; k += 4, c += 4) {
                kt_add_four_gradients(params->prescale + k, params->prescale_shift, kt_load_word(gradient + k), kt_load_word(weights + k), row + k);
            }
        }
#endif
        for (; k < window->input[KT_CHANNELS]; k++) {
            int32_t sum = row[k];
            for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
                const int32_t m = kt_gained(params->prescale[c], gain, c);
                sum += kt_prescaled(gradient[c], m, params->prescale_shift) * weights[c];
            }
            row[k] = sum;
        }
    }
}

/* Every position without a delta; row: one sum an input channel. */
static inline void kt_depthwise_input_gradient_walk(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                                    int8_t *dx, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            kt_depthwise_gather(params, g, NULL, y, x, row);
            for (k = 0; k < channels; k++) {
                result[k] = kt_saturate8(kt_shift_round(row[k], params->shift));
            }
        }
    }
}

#endif
