/* packed_scaled.h: layers with a trained gain of each channel, whose starts have their epilogue. */
#ifndef KT_PACKED_SCALED_H
#define KT_PACKED_SCALED_H

#define KT_WITH_GAIN 1
#include "kt/kernels/packed_convolution.h"
#include "packed_conv2d.h"
#include "packed_gain.h"

/* The layer whose bias is its starts, in `starts`. */
static inline kt_packed_conv2d_params kt_started_layer(const kt_packed_conv2d_params *params, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int32_t *starts)
{
    const int32_t weights = 2 * params->pairs;
    const kt_epilogue_places epilogues = {params->stream + weights, weights + KT_EPILOGUE, 3};
    kt_packed_conv2d_params own = *params;
    kt_gained_starts(&epilogues, bias, params->fold, params->bias_limit, gain, gain_exponent, params->window.output[KT_CHANNELS], starts);
    own.fold = NULL;
    return own;
}

KT_INLINE void kt_run_scaled(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch, kt_product_kernel *product)
{
    int32_t *const starts = (int32_t *)scratch + 2 * params->pairs;
    const kt_packed_conv2d_params own = kt_started_layer(params, bias, gain, gain_exponent, starts);
    kt_walk_panels(&own, x, starts, y, scratch, product);
}

/* One row of a fully connected layer, read where it lies: each channel ends once, so that scratch holds the starts of a block alone. */
KT_INLINE void kt_scaled_row(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch, kt_product_kernel *product)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t words = 2 * params->pairs + KT_EPILOGUE;
    int32_t c;
    for (c = 0; c < channels; c += KT_START_BLOCK) {
        kt_packed_conv2d_params block = *params;
        block.window.output[KT_CHANNELS] = kt_minimum(channels - c, KT_START_BLOCK);
        block.fold = params->fold + c;
        block.stream = params->stream + c / KT_QUAD * words;
        block = kt_started_layer(&block, bias + c, gain + c, gain_exponent, scratch);
        kt_packed_results(&block, scratch, x, y + c, 0, product);
    }
}

#endif
