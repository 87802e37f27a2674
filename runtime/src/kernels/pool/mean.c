/* MEAN over the middle axis of [outer][count][inner], int8.
 *
 *     y = saturate(requantize(sum (x - z_x)) + z_y), the multiplier holds s_x / (s_y * count)
 *
 * Source: TensorFlow Lite reference kernel QuantizedMeanOrSum; rounded twice. */
#include "kt/architecture.h"
#include "mean.h"

#if !KT_DSP

void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y)
{
    const int32_t inner = params->extent[2];
    int32_t o;
    for (o = 0; o < params->extent[0]; o++) {
        kt_mean_from(params, x, y, 0);
        x += params->extent[1] * inner;
        y += inner;
    }
}

#endif
