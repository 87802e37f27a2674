/* Gradient of DEPTHWISE_CONV_2D to its input.
 *
 *     dx[k] = saturate8(shift_round(sum over windows and the results c of channel k of G'[c] * w[tap, c], shift)),
 *     G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 *
 * Both roundings are half up. */
#include "input_gradient.h"

/* row[k] = the sums of one input position. */
static void gather(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t y, int32_t x,
                   int32_t *row)
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
                sum += kt_prescaled(gradient[c], params->prescale[c], params->prescale_shift) * weights[c];
            }
            row[k] = sum;
        }
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx,
                                    void *scratch)
{
    const kt_window *window = &params->window;
    int32_t *row = (int32_t *)scratch;
    int32_t y, x, k;
    for (y = 0; y < window->input[KT_Y]; y++) {
        for (x = 0; x < window->input[KT_X]; x++) {
            gather(params, g, y, x, row);
            for (k = 0; k < window->input[KT_CHANNELS]; k++) {
                *dx++ = kt_saturate8(kt_shift_round(row[k], params->shift));
            }
        }
    }
}
