/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA or a delta to their input, from the weights of three sums in two words, plus the trained path. */
#include "kt/kernels/triple_convolution.h"
#include "triple_input_gradient.h"

void kt_triple_path_input_gradient_s8(const kt_triple_path_input_gradient_params *params, const int8_t *g, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx)
{
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    const kt_path path = {path_g, path_weights, params->path_channels, params->path_rows, params->path_multiplier, params->path_shift + exponent};
    uint32_t block[KT_BACKWARD_POSITIONS * KT_BLOCK];
    kt_triple_gradient(&params->layer, &path, g, block, dx);
}
