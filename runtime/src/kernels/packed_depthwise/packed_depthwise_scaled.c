/* DEPTHWISE_CONV_2D from packed weights with a trained gain of each channel. */
#include "kt/kernels/packed_depthwise.h"
#include "packed_depthwise.h"

static void start(const kt_packed_depthwise_params *params, const int32_t *bias, const int8_t *gain, const int8_t *gain_exponent,
                  int32_t *starts)
{
    const int32_t weights = 2 * params->window.kernel[KT_Y] * params->window.kernel[KT_X];
    const kt_epilogue_places epilogues = {params->stream + weights, weights + KT_EPILOGUE, 3};
    kt_gained_starts(&epilogues, bias, params->fold, params->bias_limit, gain, gain_exponent, params->window.input[KT_CHANNELS], starts);
}

/* Results of any sign. */
void kt_packed_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    start(params, bias, gain, gain_exponent, scratch);
    kt_packed_depthwise_walk(params, x, scratch, y, 128, 1);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_packed_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                        const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    start(params, bias, gain, gain_exponent, scratch);
    kt_packed_depthwise_walk(params, x, scratch, y, 0, 1);
}
