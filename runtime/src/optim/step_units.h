/* step_units.h: steps of SGD on an outer product without float32, in units of 2^-12 of a master's last bit. They tell the result of float32's roundings
 * unless it lies within a few units of where that changes: there, and where steps are large beside the values, float32 itself is asked, so
 * that all bits are its own. */
#ifndef KT_OPTIM_STEP_UNITS_H
#define KT_OPTIM_STEP_UNITS_H

#include "block16.h"

/* 1 where one product has 64 bits; elsewhere a step takes two. */
#define KT_LONG_PRODUCT (!KT_ARMV6M)

#if KT_LONG_PRODUCT
/* The step of a product of g and x is (product << up) * factor / 2^32, within kt_doubt_of. */
typedef struct {
    int32_t factor, up;
} kt_step_units;

/* a * b / 2^32 */
KT_INLINE int32_t kt_upper_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* step: bits of that of a product of 1, a normal number; exponent: of masters; product: the largest. Returns whether all steps have less than 32
 * bits. */
static inline int kt_choose_units(uint32_t step, int32_t exponent, int32_t product, kt_step_units *units)
{
    enum { SPARE = 7 }; /* bits in front of a significand */
    const int32_t power = kt_exponent_field(step) - (KT_STEP_SHIFT - 40) - exponent;
    const uint32_t significand = kt_significand(step);
    units->up = kt_maximum(power - SPARE, 0);
    units->factor = (int32_t)(power >= 0 ? significand << kt_minimum(power, SPARE) : significand >> kt_minimum(-power, 31));
    units->factor = (int32_t)step < 0 ? -units->factor : units->factor;
    return units->up < 31 && product <= INT32_MAX >> units->up;
}

/* What kt_less_step takes for g. */
KT_INLINE int32_t kt_factor_of_row(const kt_step_units *units, int32_t g)
{
    return g * (1 << units->up);
}

/* held less the step of a product */
KT_INLINE int32_t kt_less_step(const kt_step_units *units, int32_t held, int32_t product)
{
#if KT_DSP
    __asm__("smmls %0, %1, %2, %0" : "+r"(held) : "r"(product), "r"(units->factor));
    return held;
#else
    return held - kt_upper_product(product, units->factor);
#endif
}
#else
/* The step of a product of g and x is |product| * (factor + low / 2^8) / 2^shift with its sign, within kt_doubt_of. */
typedef struct {
    uint32_t factor, low; /* 16 bits, the first set, and the next 8 */
    int32_t shift;
    int32_t sign; /* of a positive product's: 0 or -1 */
} kt_step_units;

static inline int kt_choose_units(uint32_t step, int32_t exponent, int32_t product, kt_step_units *units)
{
    units->factor = kt_significand(step) >> 8;
    units->low = step & 255;
    units->shift = kt_minimum(KT_STEP_SHIFT - 16 + exponent - kt_exponent_field(step), 31);
    units->sign = (int32_t)step >> 31;
    return units->shift >= 0 && ((uint32_t)product * (units->factor + 1)) >> units->shift < UINT32_C(1) << 30;
}

KT_INLINE int32_t kt_factor_of_row(const kt_step_units *units, int32_t g)
{
    (void)units;
    return g;
}

KT_INLINE int32_t kt_less_step(const kt_step_units *units, int32_t held, int32_t product)
{
    const uint32_t magnitude = kt_magnitude(product);
    const int32_t step = (int32_t)((magnitude * units->factor + (magnitude * units->low >> 8)) >> units->shift);
    const int32_t sign = (product >> 31) ^ units->sign;
    return held - ((step ^ sign) - sign);
}
#endif

/* By how much a step may be off: what was cut off, and float32's roundings. */
KT_INLINE int32_t kt_doubt_of(int32_t step)
{
    return 2 + (step >> 21);
}

#endif
