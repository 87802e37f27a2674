/* conv2d_input_gradient.h: the sums of W^T dY at one input position, with and without LoRA. */
#ifndef KT_CONV2D_INPUT_GRADIENT_H
#define KT_CONV2D_INPUT_GRADIENT_H

#include "kt/kernels/convolution.h"
#include "input_gradient.h"

#if KT_VECTOR
#include "vector/gather.h"
#else
/* row[k] = sum over the windows that cover (y, x), and over c, of G'[c] * weights[c, tap, first + k], m with its gain;
 * k in [0, count). */
static inline void kt_conv2d_gather(const kt_conv2d_input_gradient_params *params, const int8_t *g,
                                    const kt_gain *gain, int32_t y, int32_t x, int32_t first, int32_t count,
                                    int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t size = window->input[KT_CHANNELS];
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t step = kt_kernel_size(window);
    const int16_t *const prescale = params->prescale;
    const int32_t prescale_shift = params->prescale_shift;
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)count * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *gradient = g + meeting.position * channels;
        const int8_t *weights = params->weights + meeting.tap * size + first;
        int32_t c;
        for (c = 0; c < channels; c++, weights += step) {
            if (gradient[c] != 0) {
                const int32_t m = kt_gained(prescale[c], gain, c);
                kt_add_row(row, weights, kt_prescaled(gradient[c], m, prescale_shift), count);
            }
        }
    }
}
#endif

#endif
