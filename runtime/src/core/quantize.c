#include "kt/quantize.h"

#include "kt/numerics.h"

#define LIMIT 2147483648.0f /* what int32 cannot hold */

int32_t kt_quantize(float real, float scale, int32_t zero_point, int32_t low, int32_t high)
{
    const float scaled = real / scale;
    if (scaled >= LIMIT) {
        return high;
    }
    if (scaled <= -LIMIT) {
        return low;
    }
    if (!(scaled == scaled)) { /* NaN alone differs from itself */
        return zero_point;
    }
    const int32_t whole = (int32_t)scaled; /* towards zero */
    const float rest = scaled - (float)whole;
    const int32_t rounded = whole + (rest >= 0.5f) - (rest <= -0.5f);
    return kt_clamp(kt_add_saturated(rounded, zero_point), low, high);
}

float kt_dequantize(int32_t q, float scale, int32_t zero_point)
{
    return (float)(q - zero_point) * scale;
}
