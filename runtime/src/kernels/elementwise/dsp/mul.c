/* kt_mul_s8 for the DSP extension: four elements at once, factors as halves of words.
 *
 * A product is rounded twice, by n > 0 bits the second time, as in sum.h. */
#include "../mul.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

enum { LARGEST_SHIFT = 22 };

typedef struct {
    int32_t multiplier, half, shift;
} scaling;

/* half: with the zero point of the result. */
static inline int32_t requantized(const scaling *s, int32_t product)
{
    return __ssat((kt_add_high_product(2 * product, s->multiplier, s->half) + (product >> 31)) >> s->shift, 8);
}

void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const int32_t n = -params->shift;
    const int32_t whole = n >= 1 && n <= LARGEST_SHIFT ? params->size & ~3 : 0;
    const uint32_t low = kt_four(params->clamp[0]), high = kt_four(params->clamp[1]);
    const uint32_t x_offset = kt_low_halves((uint32_t)params->input_offset[0], (uint32_t)params->input_offset[0]);
    const uint32_t other_offset = kt_low_halves((uint32_t)params->input_offset[1], (uint32_t)params->input_offset[1]);
    scaling s = {params->multiplier, 0, n};
    int32_t i;
    if (whole > 0) {
        s.half = (INT32_C(1) << (n - 1)) + params->output_offset * (INT32_C(1) << n);
    }
    for (i = 0; i < whole; i += 4) {
        const uint32_t u = kt_load_word(x + i), v = kt_load_word(other + i);
        const int32_t u02 = (int32_t)kt_add_even(x_offset, u), u13 = (int32_t)kt_add_odd(x_offset, u);
        const int32_t v02 = (int32_t)kt_add_even(other_offset, v), v13 = (int32_t)kt_add_odd(other_offset, v);
        const int32_t y0 = requantized(&s, (int16_t)u02 * (int16_t)v02);
        const int32_t y1 = requantized(&s, (int16_t)u13 * (int16_t)v13);
        const int32_t y2 = requantized(&s, (u02 >> 16) * (v02 >> 16)), y3 = requantized(&s, (u13 >> 16) * (v13 >> 16));
        kt_store_word(y + i, kt_clamp_bytes(kt_bytes(y0, y1, y2, y3), low, high));
    }
    kt_mul_from(params, x, other, y, whole);
}

#endif
