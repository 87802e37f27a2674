/* DEPTHWISE_CONV_2D with a 3x3 window from packed weights, band by band; strided: stride 2. */
#include "kt/kernels/packed_depthwise.h"
#include "banded_depthwise.h"

/* Results of any sign. */
void kt_banded_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                            int8_t *y, void *scratch)
{
    kt_banded_walk(params, x, bias, y, scratch, 6, NULL, kt_band_away);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_banded_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                 int8_t *y, void *scratch)
{
    kt_banded_walk(params, x, bias, y, scratch, 6, NULL, kt_band_half_up);
}

/* Strided, results of any sign. */
void kt_banded_depthwise_strided_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                    int8_t *y, void *scratch)
{
    kt_banded_walk(params, x, bias, y, scratch, 5, NULL, kt_band_away_strided);
}

/* Strided, under such a ReLU. */
void kt_banded_depthwise_strided_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                         int8_t *y, void *scratch)
{
    kt_banded_walk(params, x, bias, y, scratch, 5, NULL, kt_band_half_up_strided);
}

/* Gradient to the input: the layer with its taps turned round, over scaled gradients. */
void kt_banded_depthwise_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g,
                                           int8_t *dx, void *scratch)
{
    const kt_scaling scaling = {params->prescale, NULL, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (params->shift - 1)), params->shift};
    kt_bands b = {&params->window, {0, 0, 0, 0, 0}, 0, params->stream, NULL, 0, g, rounding, dx, scratch, NULL, kt_band_gradient};
    kt_walk_bands(&b, params->rows, 6, &scaling, NULL);
}
