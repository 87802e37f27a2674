/* Gradient of a bottleneck adapter to its input: the residual path plus the path through D.
 *
 *     dy = saturate8(shift_round(g * 2^fraction + clamp(shift_round(D^T dh, -(fraction + exponents)), +-2^30), shift))
 *
 * All roundings are half up. */
#include "kt/kernels/lora.h"
#include "kt/numerics.h"

void kt_bottleneck_input_gradient_s8(const kt_bottleneck_input_gradient_params *params, const int8_t *g,
                                     const int8_t *dh, const int8_t *dh_exponent, const int8_t *down,
                                     const int8_t *down_exponent, int8_t *dy)
{
    const int32_t channels = params->channels;
    const int32_t shift = -(params->fraction + *dh_exponent + *down_exponent);
    int32_t position, c, j;
    for (position = 0; position < params->positions; position++) {
        for (c = 0; c < channels; c++) {
            int32_t sum = 0;
            for (j = 0; j < params->width; j++) {
                sum += down[j * channels + c] * dh[j];
            }
            sum = kt_clamp(kt_shift_round(sum, shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
            sum += *g++ * (INT32_C(1) << params->fraction);
            *dy++ = kt_saturate8(kt_shift_round(sum, params->shift));
        }
        dh += params->width;
    }
}
