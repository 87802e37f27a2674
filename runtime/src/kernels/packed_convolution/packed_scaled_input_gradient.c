/* Gradient of CONV_2D and FULLY_CONNECTED with a trained gain to their input, from transposed weights: the pre-scale holds the gain. */
#include "kt/kernels/packed_convolution.h"
#include "packed_input_gradient.h"

void kt_packed_scaled_input_gradient_s8(const kt_packed_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t padded = kt_padded_channels(channels);
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    int16_t *const prescale = scratch;
    const kt_gradient_walk walk = {{&params->window, g, prescale, params->prescale_shift}, params->stream, params->shift,
                                   NULL, dx, (int32_t *)scratch + padded / 2, 0, NULL};
    int32_t c;
    kt_gained_prescale(&trained, channels, params->prescale, prescale);
    for (c = channels; c < padded; c++) {
        prescale[c] = 0;
    }
    kt_walk_gradient(&walk);
}
