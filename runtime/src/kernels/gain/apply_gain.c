/* A gradient passes a trained gain: result = saturate8(shift_round(g * m[c], 14)), half up, m the gain in units of 2^-14. */
#include "kt/kernels/gain.h"
#include "gain.h"

void kt_apply_gain_s8(const kt_apply_gain_params *params, const int8_t *g, const int8_t *gain,
                      const int8_t *gain_exponent, int8_t *result)
{
    const int32_t channels = params->channels;
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    int32_t c, position;
    for (c = 0; c < channels; c++) {
        const int32_t factor = kt_backward_factor(&trained, c);
        for (position = 0; position < params->positions; position++) {
            const int32_t product = g[position * channels + c] * factor;
            result[position * channels + c] = kt_saturate8(kt_shift_round(product, KT_BACKWARD_BITS));
        }
    }
}
