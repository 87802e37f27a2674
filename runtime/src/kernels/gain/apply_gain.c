/* A gradient passes a trained gain: result = saturate8(shift_round(g * m[c], 14)), half up;
 * m[c] = 2^14 + gain[c] * 2^(exponent + 14), limited to +-2^23. */
#include "kt/kernels/gain.h"
#include "kt/numerics.h"

void kt_apply_gain_s8(const kt_apply_gain_params *params, const int8_t *g, const int8_t *gain,
                      const int8_t *gain_exponent, int8_t *result)
{
    const int32_t channels = params->channels;
    const int32_t limit = INT32_C(1) << 23;
    const int32_t down = -(*gain_exponent + 14);
    int32_t c, position;
    for (c = 0; c < channels; c++) {
        const int32_t moved = kt_clamp(kt_shift_round(gain[c], down), -2 * limit, 2 * limit);
        const int32_t factor = kt_clamp(moved + (INT32_C(1) << 14), -limit, limit);
        for (position = 0; position < params->positions; position++) {
            const int32_t product = g[position * channels + c] * factor;
            result[position * channels + c] = kt_saturate8(kt_shift_round(product, 14));
        }
    }
}
