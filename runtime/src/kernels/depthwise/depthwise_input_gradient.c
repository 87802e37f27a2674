/* Gradient of DEPTHWISE_CONV_2D to its input.
 *
 *     dx[k] = saturate8(shift_round(sum over windows and the results c of channel k of G'[c] * w[tap, c], shift)),
 *     G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 *
 * Both roundings are half up. */
#include "depthwise_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
}

#endif
