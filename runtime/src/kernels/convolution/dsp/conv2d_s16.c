/* Layers of int16 activations for the DSP extension: two channels at once, so that what is loaded and paired of x serves
 * both; SMLALD adds two products of 16 bits to a sum of 64. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

/* Adds the products of n neighbouring values with those of two kernels. */
static inline void kt_add_span(int64_t *first_sum, int64_t *second_sum, const int16_t *x, const int8_t *first,
                            const int8_t *second, int32_t n)
{
    int64_t a = *first_sum, b = *second_sum;
    for (; n >= 4; n -= 4, x += 4, first += 4, second += 4) {
        const uint32_t front = kt_load_word(x), back = kt_load_word(x + 2);
        const int16x2_t even = (int16x2_t)kt_low_halves(front, back), odd = (int16x2_t)kt_high_halves(front, back);
        const uint32_t u = kt_load_word(first), v = kt_load_word(second);
        a = __smlald(even, (int16x2_t)kt_even(u), a);
        b = __smlald(even, (int16x2_t)kt_even(v), b);
        a = __smlald(odd, (int16x2_t)kt_odd(u), a);
        b = __smlald(odd, (int16x2_t)kt_odd(v), b);
    }
    for (; n > 0; n--, x++, first++, second++) {
        a += (int32_t)*first * *x;
        b += (int32_t)*second * *x;
    }
    *first_sum = a;
    *second_sum = b;
}

#include "../two_wide_channels.h"

#endif
