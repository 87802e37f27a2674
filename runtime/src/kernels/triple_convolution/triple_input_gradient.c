/* Gradient of CONV_2D and FULLY_CONNECTED to their input, from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "triple_input_gradient.h"

void kt_triple_input_gradient_s8(const kt_triple_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    uint32_t block[KT_BACKWARD_POSITIONS * KT_BLOCK];
    kt_triple_gradient(params, NULL, g, block, dx);
}
