/* CONV_2D and FULLY_CONNECTED with three sums in two words and a trained gain of each channel, requantised in the product. */
#include "kt/kernels/triple_convolution.h"
#include "triple_conv2d.h"
#include "triple_gain.h"

/* scratch: what the sums start from and end with, then that of the walk. */
KT_INLINE void kt_triple_scaled(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                const int8_t *gain_exponent, int8_t *y, void *scratch, kt_triple_kernel *product, kt_finish_triple *finish)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t *const start = scratch;
    int32_t *const epilogue = start + channels;
    const kt_triple_layer layer = {&params->window, (const uint8_t *)params->stream, params->length, params->chunk, start, epilogue, y, product};
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    kt_gained_channels(params, kt_triple_epilogue(params->stream, channels, params->length), bias, &trained, 0, channels, start, epilogue);
    kt_triple_walk(&layer, x, params->outside, kt_direction(x, y), epilogue + 3 * channels, finish, &layer);
}

static void kt_finish_away(const void *layer, const kt_triple_block *block)
{
    kt_finish_results(layer, block, 128);
}

static void kt_finish_half_up(const void *layer, const kt_triple_block *block)
{
    kt_finish_results(layer, block, 0);
}

/* Results of any sign. */
void kt_triple_conv2d_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_triple_scaled(params, x, bias, gain, gain_exponent, y, scratch, kt_triple_away, kt_finish_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_conv2d_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_triple_scaled(params, x, bias, gain, gain_exponent, y, scratch, kt_triple_half_up, kt_finish_half_up);
}
