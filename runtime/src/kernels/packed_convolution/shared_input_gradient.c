/* Gradient of CONV_2D and FULLY_CONNECTED to their input, from the stream that inference reads. */
#include "kt/kernels/packed_convolution.h"
#include "shared_input_gradient.h"

void kt_shared_input_gradient_s8(const kt_shared_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    kt_shared_gradient(params, NULL, g, dx, scratch);
}
