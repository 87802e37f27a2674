/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA or a delta to their input: the frozen path from transposed weights, plus the trained one. */
#define KT_WITH_PATH 1
#define KT_WINDOWS KT_OTHER_WINDOWS /* what LoRA adds to those of 1x1 windows is in path_starts.h */
#include "kt/kernels/packed_convolution.h"
#include "packed_input_gradient.h"

#if KT_DSP
#include "dsp/path_starts.h"
#endif

void kt_packed_path_input_gradient_s8(const kt_packed_path_input_gradient_params *params, const int8_t *g,
                                      const int8_t *path_g, const int8_t *path_exponent, const int8_t *path_weights,
                                      const int8_t *weights_exponent, int8_t *dx, void *scratch)
{
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    const kt_path path = {path_g, path_weights, params->path_channels, params->path_rows, params->path_multiplier,
                          params->path_shift + exponent};
    const kt_gradient_walk walk = {{&params->window, g, params->prescale, params->prescale_shift}, params->stream, params->shift,
                                   &path, dx, scratch, 0, NULL};
#if KT_DSP
    if (kt_starts_with_path(&walk, params->path_limit)) {
        kt_walk_started(&walk);
        return;
    }
#endif
    kt_walk_gradient(&walk);
}
