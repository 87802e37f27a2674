/* Gradient of CONV_2D and FULLY_CONNECTED to their input, from transposed weights; of 1x1 windows packed_pointwise_input_gradient.c is. */
#define KT_WINDOWS KT_OTHER_WINDOWS
#include "kt/kernels/packed_convolution.h"
#include "packed_input_gradient.h"

void kt_packed_input_gradient_s8(const kt_packed_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    const kt_gradient_walk walk = {{&params->window, g, params->prescale, params->prescale_shift}, params->stream, params->shift,
                                   NULL, dx, scratch, 0, NULL};
    kt_walk_gradient(&walk);
}
