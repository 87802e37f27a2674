/* Gradient of DEPTHWISE_CONV_2D with a trained delta to its input in vectors of channels. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_VECTOR
#include "gradient_position.h"

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t path_shift = params->path_shift + *delta_exponent;
    const kt_delta_share share = {delta_g, delta, path_shift};
    if (gain == NULL && params->depth_multiplier == 1 && params->rows == NULL && params->columns == params->window.output[KT_CHANNELS]) {
        kt_vector_gradient_walk(params, g, &share, dx, scratch);
    } else {
        kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, path_shift, dx, (int32_t *)scratch);
    }
}
#endif
