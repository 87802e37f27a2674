/* table16.h: logistic and hyperbolic tangent of 16-bit values by a table: codegen/kiloc/ops/_table16.py in C. */
#ifndef KT_TABLE16_H
#define KT_TABLE16_H

#include <stdint.h>

/* Between two entries of the table, 2^bits steps apart: 2^bits times their unit. magnitude >> bits is less than 255. */
static inline int32_t kt_interpolated(const uint16_t *sigmoid, int32_t magnitude, int32_t bits)
{
    const int32_t low = sigmoid[magnitude >> bits];
    const int32_t high = sigmoid[(magnitude >> bits) + 1];
    return low * (1 << bits) + (magnitude & ((1 << bits) - 1)) * (high - low);
}

/* x in 1 / (3 * 4096), |x| < 2^31; result in 2^-15. */
static inline int32_t kt_logistic16(const uint16_t *sigmoid, int32_t x)
{
    const int32_t magnitude = x < 0 ? -x : x;
    const int32_t result = (magnitude >> 9) >= 255 ? 0x7FFF * 1024 : kt_interpolated(sigmoid, magnitude, 9);
    return (x >= 0 ? result + 512 : (1 << 25) - result + 511) >> 10;
}

static inline int32_t kt_tanh16(const uint16_t *sigmoid, int32_t x)
{
    const int32_t magnitude = x < 0 ? -x : x;
    const int32_t result = ((magnitude >> 8) >= 255 ? 0xFFFF * 256 : kt_interpolated(sigmoid, magnitude, 8)) - (1 << 23);
    return (x >= 0 ? result + 128 : 127 - result) >> 8;
}

#endif
