/* prescale.h: G' = (g * m + 2^(p-1)) >> p (../input_gradient.h) in two instructions.
 *
 * With M = m * 2^(17-p) the high part of the product, M * g >> 16, is floor(2 g m / 2^p); one more, halved, is G'. */
#ifndef KT_DSP_PRESCALE_H
#define KT_DSP_PRESCALE_H

#include "simd.h"

/* p in [7, 17], so that G' fits in 16 bits and M in 32. */
static inline int kt_has_prescale(int32_t p)
{
    return p >= 7 && p <= 17;
}

static inline int32_t kt_prescale_factor(int32_t m, int32_t p)
{
    return m << (17 - p);
}

/* 2 G' or 2 G' + 1, of the g in the low half. */
static inline int32_t kt_doubled_low(int32_t factor, uint32_t g)
{
    return __smlawb(factor, (int32_t)g, 1);
}

/* The same of the g in the high half. */
static inline int32_t kt_doubled_high(int32_t factor, uint32_t g)
{
    return __smlawt(factor, (int32_t)g, 1);
}

/* {G' of the first, G' of the second}, both doubled */
static inline uint32_t kt_halved(int32_t first, int32_t second)
{
    uint32_t halves;
    __asm__("pkhbt %0, %1, %2, lsl #15" : "=r"(halves) : "r"(first >> 1), "r"(second));
    return halves;
}

#endif
