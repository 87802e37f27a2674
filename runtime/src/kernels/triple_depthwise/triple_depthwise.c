/* DEPTHWISE_CONV_2D with three sums in two words, results of any sign. */
#include "kt/kernels/triple_depthwise.h"
#include "triple_depthwise.h"

static void results(const void *context, const kt_triple_band *band)
{
    const kt_triple_small_kernels kernels = KT_SMALL_KERNELS(away);
    kt_results_of_band(band, kt_band_weights(band), kt_band_bias(band, context), 128, kernels);
}

void kt_triple_depthwise_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_walk_triple_bands(params, x, y, scratch, bias, results);
}
