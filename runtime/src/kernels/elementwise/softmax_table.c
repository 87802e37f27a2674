/* SOFTMAX over the last axis, int16 to int16, by tables of e^x and 1 / (1 + x) with straight lines between their
 * entries.
 *
 * Source: TensorFlow Lite's reference kernel for int16. */
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

static inline int32_t looked_up(const int16_t *table, int32_t x)
{
    const int16_t *entry = table + (256 + (x >> 7));
    return entry[0] + (((entry[1] - entry[0]) * (x & 127) + 64) >> 7);
}

static inline int32_t clamp16(int32_t x)
{
    return kt_clamp(x, INT16_MIN, INT16_MAX);
}

void kt_softmax_s16(const kt_softmax_s16_params *params, const int16_t *x, int16_t *y)
{
    const kt_softmax_s16_params p = *params;
    int32_t row, c;
    for (row = 0; row < p.rows; row++, x += p.depth, y += p.depth) {
        int32_t largest = INT16_MIN, sum = 0;
        int32_t bits, factor, half;
        for (c = 0; c < p.depth; c++) {
            largest = kt_maximum(largest, x[c]);
        }
        for (c = 0; c < p.depth; c++) {
            const int32_t scaled = kt_requantize(x[c] - largest, p.multiplier, p.shift);
            y[c] = (int16_t)looked_up(p.exponential, clamp16(kt_add_saturated(scaled, INT16_MAX)));
            sum += y[c];
        }
        bits = kt_bit_length((uint32_t)sum);
        factor = (int32_t)((((int64_t)sum * (INT64_C(1) << (31 - bits))) + (1 << 13)) >> 14);
        factor = looked_up(p.reciprocal, clamp16(factor - ((1 << 15) + (1 << 16))));
        half = INT32_C(1) << (bits - 2);
        for (c = 0; c < p.depth; c++) {
            y[c] = (int16_t)kt_clamp((y[c] * factor + half) >> (bits - 1), 0, INT16_MAX);
        }
    }
}
