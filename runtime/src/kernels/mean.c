/* MEAN over the middle axis of [outer][count][inner], int8.
 *
 *     y = saturate(requantize(sum (x - z_x)) + z_y), the multiplier holds s_x / (s_y * count)
 *
 * Source: TensorFlow Lite reference kernel QuantizedMeanOrSum; rounded twice. */
#include "kt/architecture.h"
#include "kt/kernels.h"
#include "kt/numerics.h"

#if !KT_MVE

void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->extent[1];
    const int32_t inner = params->extent[2];
    const int32_t offset = params->input_offset * count;
    int32_t o, i, n;
    for (o = 0; o < params->extent[0]; o++) {
        for (i = 0; i < inner; i++) {
            int32_t sum = offset;
            int32_t scaled;
            for (n = 0; n < count; n++) {
                sum += x[n * inner + i];
            }
            scaled = kt_requantize(sum, params->multiplier, params->shift);
            *y++ = kt_clamp_with_offset(scaled, params->output_offset, -128, 127);
        }
        x += count * inner;
    }
}
#endif
