/* kt_depthwise_weight_gradient for the DSP extension: four channels at once, their sums in registers over all positions of a tap. */
#include "../depthwise_weight_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP

#include "../../dsp/four_channels.h"

/* One tap of all channels below `whole`; accumulator: of the tap. */
static void add_tap(const kt_depthwise_weight_gradient_params *params, int32_t ky, int32_t kx, const int8_t *g, const int8_t *x,
                    float scale, float *accumulator, int32_t whole)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t top = ky * window->dilation[KT_Y] - window->pad[KT_Y];
    const int32_t left = kx * window->dilation[KT_X] - window->pad[KT_X];
    const int32_t row_g = window->output[KT_X] * channels;
    const int32_t row_x = window->stride[KT_Y] * window->input[KT_X] * channels;
    int32_t first_y, end_y, first_x, end_x, c, i;
    kt_rectangle p; /* the positions whose window has the tap inside the input */
    kt_outputs_of(window, KT_Y, ky, &first_y, &end_y);
    kt_outputs_of(window, KT_X, kx, &first_x, &end_x);
    p.rows = end_y - first_y;
    p.columns = kt_maximum(end_x - first_x, 0);
    p.column_a = channels;
    p.column_x = window->stride[KT_X] * channels;
    p.skip_a = row_g - p.columns * p.column_a;
    p.skip_x = row_x - p.columns * p.column_x;
    g += first_y * row_g + first_x * p.column_a;
    x += first_y * row_x + first_x * p.column_x + (top * window->input[KT_X] + left) * channels;
    for (c = 0; c < whole; c += 4) {
        int32_t sums[4];
        if (params->rows != NULL && (params->rows[c] & params->rows[c + 1] & params->rows[c + 2] & params->rows[c + 3]) < 0) {
            continue; /* all are -1 */
        }
        kt_sum_four_channels(&p, g + c, x + c, (uint16_t)params->input_offset * UINT32_C(0x00010001), sums);
        for (i = 0; i < 4; i++) {
            const int32_t column = kt_delta_column(params, c + i);
            if (column >= 0) {
                accumulator[column] = kt_accumulate(accumulator[column], sums[i], scale);
            }
        }
    }
}

void kt_depthwise_weight_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                  const int32_t *exponent, float *accumulator)
{
    const kt_window *window = &params->window;
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t whole = params->depth_multiplier == 1 ? window->input[KT_CHANNELS] & ~3 : 0;
    float *tap = accumulator;
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        for (kx = 0; kx < window->kernel[KT_X]; kx++, tap += params->columns) {
            add_tap(params, ky, kx, g, x, scale, tap, whole);
        }
    }
    kt_depthwise_weight_gradient_from(params, g, x, scale, accumulator, whole);
}

#endif
