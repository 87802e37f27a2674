/* Gradient of a depthwise delta, c the channel of column r:
 *
 *     accumulator[tap, r] += (float)(sum_p g[p, c] * (x[p, tap, c / depth_multiplier] - z_x)) * (scale * 2^exponent)
 *
 * One exact int32 sum over the positions whose window has the tap inside the input, then one float32 rounding an
 * operation. */
#include "depthwise_weight_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"
#include "lined_depthwise_gradient.h"
#include "triple_depthwise_gradient.h"

#if !KT_DSP && !KT_VECTOR

void kt_depthwise_weight_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                  const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const kt_window *const window = &params->window;
    if (kt_has_triple_taps(params) && window->kernel[KT_Y] > 1 && window->kernel[KT_X] > 1) {
        kt_triple_depthwise_gradient(params, g, x, scale, accumulator);
    } else if (kt_has_lined_taps(params)) {
        kt_lined_depthwise_gradient(params, g, x, scale, accumulator);
    } else {
        kt_depthwise_weight_gradient_from(params, g, x, scale, accumulator, 0);
    }
}

#endif
