/* Layers of int16 activations for the DSP extension: two channels at once, so that what is loaded and paired of x serves
 * both; SMLALD adds two products of 16 bits to a sum of 64. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_DSP && !KT_MVE

#include "../conv2d_s16.h"
#include "../../dsp/simd.h"

/* Adds the products of n neighbouring values with those of two kernels. */
static inline void add_span(int64_t *first_sum, int64_t *second_sum, const int16_t *x, const int8_t *first,
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

/* The last of an odd number of channels is computed twice. */
static void kt_wide_position(const kt_conv2d_params *params, const kt_wide_bias *bias, const kt_patch *patch,
                             const int16_t *x, int32_t size, int16_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c, row, span;
    for (c = 0; c < channels; c += 2) {
        const int32_t next = c + 1 < channels ? size : 0;
        int64_t a = 0, b = 0;
        for (row = 0; row < patch->rows; row++) {
            for (span = 0; span < patch->spans; span++) {
                const int16_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
                const int8_t *const weights =
                    params->weights + c * size + (patch->w + row * patch->row_w + span * patch->span_w);
                add_span(&a, &b, values, weights, weights + next, patch->length);
            }
        }
        y[c] = kt_wide_result(params, bias, c, a);
        if (next > 0) {
            y[c + 1] = kt_wide_result(params, bias, c + 1, b);
        }
    }
}

void kt_conv2d_s16(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y)
{
    const kt_wide_bias values = {bias, NULL};
    kt_wide_walk(params, x, values, y);
}

void kt_conv2d_s16_bias32(const kt_conv2d_params *params, const int16_t *x, const int32_t *bias, int16_t *y)
{
    const kt_wide_bias values = {NULL, bias};
    kt_wide_walk(params, x, values, y);
}

#endif
