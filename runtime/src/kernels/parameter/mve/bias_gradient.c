/* kt_bias_gradient on cores with Helium: eight channels at once. */
#include "../bias_gradient.h"
#include "kt/architecture.h"

#if KT_MVE

#include <arm_mve.h>

enum { FEWEST = 4, MOST = 255 }; /* positions: with fewer the portable loop is faster; sums of more leave int16 */

/* Sums of eight channels at n positions. */
static inline int16x8_t sum_eight(const int8_t *g, int32_t channels, int32_t n)
{
    int16x8_t sum = vdupq_n_s16(0);
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n\t"
                     "vldrb.s16 q0, [%[g]]\n\t"
                     "add %[g], %[g], %[channels]\n\t"
                     "vadd.i16 %q[sum], %q[sum], q0\n\t"
                     "le lr, 1b\n"
                     : [g] "+l"(g), [sum] "+w"(sum)
                     : [n] "r"(n), [channels] "r"(channels)
                     : "lr", "q0", "memory");
    return sum;
}

/* The same of fewer channels. */
static inline int16x8_t sum_some(const int8_t *g, int32_t channels, int32_t n, mve_pred16_t lanes)
{
    int16x8_t sum = vdupq_n_s16(0);
    for (; n > 0; n--, g += channels) {
        sum = vaddq_s16(sum, vldrbq_z_s16(g, lanes));
    }
    return sum;
}

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent, float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = params->channels, end = params->positions < FEWEST ? 0 : channels;
    int32_t c, i;
    for (c = 0; c < end; c += 8) {
        const int32_t count = kt_minimum(channels - c, 8);
        const int8_t *from = g + c;
        int32_t totals[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t left, n;
        for (left = params->positions; left > 0; left -= n, from += n * channels) {
            int16_t sums[8];
            n = kt_minimum(left, MOST);
            vstrhq_s16(sums, count == 8 ? sum_eight(from, channels, n) : sum_some(from, channels, n, vctp16q((uint32_t)count)));
            for (i = 0; i < count; i++) {
                totals[i] += sums[i];
            }
        }
        for (i = 0; i < count; i++) {
            accumulator[c + i] = kt_accumulate(accumulator[c + i], totals[i], scale);
        }
    }
    kt_bias_gradient_of(params, g, scale, accumulator, end, channels);
}

#endif
