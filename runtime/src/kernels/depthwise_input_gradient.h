/* depthwise_input_gradient.h: the frozen sums of a depthwise convolution's input gradient at one position. */
#ifndef KT_DEPTHWISE_INPUT_GRADIENT_H
#define KT_DEPTHWISE_INPUT_GRADIENT_H

#include "input_gradient.h"

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
        int32_t k, copy;
        for (k = 0; k < window->input[KT_CHANNELS]; k++) {
            int32_t sum = row[k];
            for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
                const int32_t m = kt_gained(params->prescale[c], gain, c);
                sum += kt_prescaled(gradient[c], m, params->prescale_shift) * weights[c];
            }
            row[k] = sum;
        }
    }
}

#endif
