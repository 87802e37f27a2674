/* DEPTHWISE_CONV_2D with three sums in two words, under a ReLU whose zero is the lowest value of int8. */
#include "kt/kernels/triple_depthwise.h"
#include "triple_depthwise.h"

static void results(const void *context, const kt_triple_band *band)
{
    const kt_triple_small_kernels kernels = KT_SMALL_KERNELS(half_up);
    kt_results_of_band(band, kt_band_weights(band), kt_band_bias(band, context), 0, kernels);
}

void kt_triple_depthwise_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_walk_triple_bands(params, x, y, scratch, bias, results);
}
