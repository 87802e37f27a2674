/* DEPTHWISE_CONV_2D with a trained delta in vectors of channels. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_VECTOR
#include "position.h"

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_trained trained;
    (void)scratch;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    trained.gain = kt_gain_of(gain, gain_exponent);
    kt_vector_walk(params, x, bias, &trained, y);
}
#endif
