/* The same gradient of a 1x1 window whose product gives results, without the code of other windows. */
#define KT_WINDOWS KT_POINTWISE_WINDOWS
#include "kt/kernels/packed_convolution.h"
#include "packed_input_gradient.h"

void kt_packed_pointwise_input_gradient_s8(const kt_packed_pointwise_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    const kt_gradient_walk walk = {{&params->window, g, params->prescale, params->prescale_shift}, params->stream, params->shift,
                                   NULL, dx, scratch, params->first, params->rest};
    kt_walk_gradient(&walk);
}
