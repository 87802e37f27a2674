/* Gradients that stop where a forward result was clamped. */
#include "kt/architecture.h"
#include "mask.h"

#if !KT_DSP && !KT_VECTOR

/* The sign bit of low < y < high. */
static inline uint32_t kt_within_sign(int32_t y, int32_t low, int32_t high)
{
    return (uint32_t)((low - y) & (y - high));
}

/* All ones where bit i is 1, else 0. */
static inline int32_t kt_bit_mask(uint32_t bits, int32_t i)
{
    return -(int32_t)((bits >> i) & 1U);
}

/* Keeps one bit of each element of a forward result: 1 where low < y < high. Lowest bit first, the last byte filled
 * with 0. A clamped element stops its gradient (kt_apply_mask_s8). */
void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t low = params->low, high = params->high, whole = params->size & -8;
    const int8_t *const end = y + whole;
    const int8_t *from = y;
    for (; from != end; from += 8) {
        uint32_t bits = kt_within_sign(from[7], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[6], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[5], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[4], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[3], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[2], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[1], low, high) >> 31;
        bits = bits << 1 | kt_within_sign(from[0], low, high) >> 31;
        *mask++ = (uint8_t)bits;
    }
    kt_save_mask_from(*params, y, mask - whole / 8, whole);
}

/* Stops a gradient where a saved bit is 0: result = g where bit i of the mask is 1 (lowest bit first), else 0. */
void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = params->size & -8;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        const uint32_t bits = mask[i >> 3];
        const int8_t *const from = g + i;
        int8_t *const to = result + i;
        to[0] = (int8_t)(from[0] & kt_bit_mask(bits, 0));
        to[1] = (int8_t)(from[1] & kt_bit_mask(bits, 1));
        to[2] = (int8_t)(from[2] & kt_bit_mask(bits, 2));
        to[3] = (int8_t)(from[3] & kt_bit_mask(bits, 3));
        to[4] = (int8_t)(from[4] & kt_bit_mask(bits, 4));
        to[5] = (int8_t)(from[5] & kt_bit_mask(bits, 5));
        to[6] = (int8_t)(from[6] & kt_bit_mask(bits, 6));
        to[7] = (int8_t)(from[7] & kt_bit_mask(bits, 7));
    }
    kt_apply_mask_from(params->size, g, mask, result, whole);
}

/* Stops a gradient where the forward result was clamped: result = g where low < y < high, else 0. */
void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    kt_mask_gradient_from(*params, g, y, result, 0);
}
#endif
