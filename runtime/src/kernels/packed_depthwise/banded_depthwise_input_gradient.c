/* Gradient of a depthwise layer with a 3x3 window to its input, band by band: the layer with its taps turned round, over scaled gradients. */
#include "kt/kernels/packed_depthwise.h"
#include "banded_depthwise.h"

void kt_banded_depthwise_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g,
                                           int8_t *dx, void *scratch)
{
    const kt_scaling scaling = {params->prescale, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (params->shift - 1)), params->shift};
    kt_bands b = {&params->window, {0, 0, 0, 0, 0}, 0, params->stream, NULL, 0, g, rounding, dx, scratch, NULL, kt_band_gradient};
    kt_walk_bands(&b, params->rows, 6, &scaling);
}
