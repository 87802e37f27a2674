/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA to their input: the frozen path from the stream that inference reads, plus the trained one. */
#define KT_WITH_PATH 1
#include "kt/kernels/packed_convolution.h"
#include "shared_input_gradient.h"

void kt_shared_path_input_gradient_s8(const kt_shared_path_input_gradient_params *params, const int8_t *g, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights, const int8_t *weights_exponent,
                                      int8_t *dx, void *scratch)
{
    const kt_path path = {path_g, path_weights, params->path_channels, NULL, params->path_multiplier,
                          params->path_shift + *path_exponent + *weights_exponent};
    kt_shared_gradient(&params->layer, &path, g, dx, scratch);
}
