/* Gradient of DEPTHWISE_CONV_2D to its input in vectors of channels. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_VECTOR
#include "gradient_position.h"

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    if (params->depth_multiplier == 1 && params->window.kernel[KT_Y] * params->window.kernel[KT_X] <= KT_MEETINGS) {
        kt_vector_gradient_walk(params, g, dx, scratch);
    } else {
        kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
    }
}
#endif
