/* DEPTHWISE_CONV_2D with a 3x3 window and a trained gain of each channel, band by band; strided: stride 2. */
#include "kt/kernels/packed_depthwise.h"
#include "banded_depthwise.h"

/* What the layer's sums start from and end with, at the beginning of `scratch`; the rest of it is for the bands. */
static void *started(const kt_packed_depthwise_params *params, const int32_t *bias, const int8_t *gain, const int8_t *gain_exponent,
                     int32_t *scratch)
{
    const kt_epilogue_places epilogues = {params->stream + KT_BAND_STREAM - 3, KT_QUAD * KT_BAND_STREAM, KT_BAND_STREAM};
    const int32_t channels = params->window.input[KT_CHANNELS];
    kt_gained_starts(&epilogues, bias, params->fold, params->bias_limit, gain, gain_exponent, channels, scratch);
    return scratch + channels * KT_GAINED_WORDS;
}

/* Results of any sign. */
void kt_banded_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    void *const bands = started(params, bias, gain, gain_exponent, scratch);
    kt_banded_walk(params, x, NULL, y, bands, 6, scratch, kt_band_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_banded_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    void *const bands = started(params, bias, gain, gain_exponent, scratch);
    kt_banded_walk(params, x, NULL, y, bands, 6, scratch, kt_band_half_up);
}

/* Strided, results of any sign. */
void kt_banded_depthwise_strided_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                           const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    void *const bands = started(params, bias, gain, gain_exponent, scratch);
    kt_banded_walk(params, x, NULL, y, bands, 5, scratch, kt_band_away_strided);
}

/* Strided, under such a ReLU. */
void kt_banded_depthwise_strided_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                                const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    void *const bands = started(params, bias, gain, gain_exponent, scratch);
    kt_banded_walk(params, x, NULL, y, bands, 5, scratch, kt_band_half_up_strided);
}

/* Gradient to the input. */
void kt_banded_depthwise_scaled_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g,
                                                  const int8_t *gain, const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_scaling scaling = {params->prescale, &trained, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (params->shift - 1)), params->shift};
    kt_bands b = {&params->window, {0, 0, 0, 0, 0}, 0, params->stream, NULL, 0, g, rounding, dx, scratch, NULL, kt_band_gradient};
    kt_walk_bands(&b, params->rows, 6, &scaling, NULL);
}
