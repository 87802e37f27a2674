/* DEPTHWISE_CONV_2D with three sums in two words and a trained gain of each channel. */
#include "kt/kernels/triple_depthwise.h"
#include "../packed_convolution/packed_gain.h"
#include "triple_depthwise.h"

/* words: room for the weights and the requantisation of one channel. */
typedef struct {
    const int32_t *bias;
    kt_gain gain;
    int32_t *words;
} kt_gained_bands;

/* The weights of the band's channel with its requantisation, in `words`. Returns what its sums start from. */
static int32_t kt_gained_words_of(const kt_gained_bands *gained, const kt_triple_band *band)
{
    const kt_triple_depthwise_params *const params = band->params;
    const int32_t c = band->channel, factor = kt_gain_factor(&gained->gain, c), count = kt_words_of_taps(&params->window);
    const int32_t *const weights = kt_band_weights(band);
    memcpy(gained->words, weights, (size_t)count * sizeof *weights);
    kt_gained_epilogue(weights + count, factor, gained->words + count);
    return params->fold[c] + kt_clamp(kt_bias_before_gain(gained->bias[c], factor), -params->bias_limit, params->bias_limit);
}

static void kt_gained_away(const void *context, const kt_triple_band *band)
{
    const kt_gained_bands *const gained = context;
    const kt_triple_small_kernels kernels = KT_SMALL_KERNELS(away);
    const int32_t bias = kt_gained_words_of(gained, band);
    kt_results_of_band(band, gained->words, bias, 128, kernels);
}

static void kt_gained_half_up(const void *context, const kt_triple_band *band)
{
    const kt_gained_bands *const gained = context;
    const kt_triple_small_kernels kernels = KT_SMALL_KERNELS(half_up);
    const int32_t bias = kt_gained_words_of(gained, band);
    kt_results_of_band(band, gained->words, bias, 0, kernels);
}

/* The words of one channel stand in front of the band. */
static void kt_walk_gained(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                           const int8_t *gain_exponent, int8_t *y, void *scratch, kt_band_results *results)
{
    const kt_gained_bands gained = {bias, kt_gain_of(gain, gain_exponent), scratch};
    kt_walk_triple_bands(params, x, y, (int32_t *)scratch + kt_words_of_taps(&params->window) + 3, &gained, results);
}

/* Results of any sign. */
void kt_triple_depthwise_scaled_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_walk_gained(params, x, bias, gain, gain_exponent, y, scratch, kt_gained_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_depthwise_scaled_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_walk_gained(params, x, bias, gain, gain_exponent, y, scratch, kt_gained_half_up);
}
