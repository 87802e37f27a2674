/* soft_float.h: float32 products and sums in integers, inline, on cores without a unit for them.
 *
 * The bits are those of IEEE 754, rounded to nearest even: each function gives what the operation in its comment gives. Usual operands, whose
 * result is normal, are worked out here; all others (zeros, subnormals, infinities, NaN) by the operation itself, that is by the compiler's
 * library. A call of that takes as long as the arithmetic, and decodes a factor that stays the same each time. */
#ifndef KT_SOFT_FLOAT_H
#define KT_SOFT_FLOAT_H

#include "halves.h"

enum { KT_EXPONENT_BIAS = 127, KT_USUAL_EXPONENTS = 252 };

#define KT_LEADING_BIT UINT32_C(0x800000)
#define KT_HALF_WORD UINT32_C(0x80000000)

KT_INLINE int32_t kt_exponent_field(uint32_t bits)
{
    return (int32_t)((bits >> 23) & 255);
}

/* Of a normal number, 24 bits. */
KT_INLINE uint32_t kt_significand(uint32_t bits)
{
    return (bits & (KT_LEADING_BIT - 1)) | KT_LEADING_BIT;
}

/* Bits of a positive number from 24 bits or the next power of two, rounded by a fraction (in 2^-32); exponent: its field less 1. */
KT_INLINE uint32_t kt_rounded_float(uint32_t significand, uint32_t fraction, int32_t exponent)
{
    significand += fraction >> 31;
    if (fraction == KT_HALF_WORD) {
        significand &= ~UINT32_C(1);
    }
    return ((uint32_t)exponent << 23) + significand;
}

/* Bits of a * b * 2^(exponent - 181), rounded. a: 32 bits, the first set and the last eight not; b: 24 bits, the first set. exponent in
 * [1, KT_USUAL_EXPONENTS]. */
KT_INLINE uint32_t kt_rounded_product(uint32_t a, uint32_t b, int32_t exponent)
{
#if KT_ARMV6M
    const uint32_t a1 = a >> 20, a0 = (a >> 8) & 0xFFF, b1 = b >> 12, b0 = b & 0xFFF;
    const uint32_t least = a0 * b0;
    const uint32_t middle = a1 * b0 + a0 * b1 + (least >> 12);
    uint32_t high = a1 * b1 + (middle >> 12);
    uint32_t low = middle << 20 | (least & 0xFFF) << 8;
#else
    const uint64_t product = (uint64_t)a * b;
    uint32_t high = (uint32_t)(product >> 32);
    uint32_t low = (uint32_t)product;
#endif
    if (high < KT_LEADING_BIT) {
        high = 2 * high + (low >> 31);
        low <<= 1;
        exponent--;
    }
    return kt_rounded_float(high, low, exponent);
}

/* A factor of many products. */
typedef struct {
    float value;
#if KT_SOFT_FLOAT
    uint32_t significand, sign;
    int32_t exponent; /* the field of a float32, less its bias */
    int32_t first;    /* Exponent fields of what it multiplies with a usual result: from this one on, */
    uint32_t fields;  /* so many */
#endif
} kt_float_factor;

KT_INLINE kt_float_factor kt_factor_of(float value)
{
    kt_float_factor factor = {0};
    factor.value = value;
#if KT_SOFT_FLOAT
    {
        const uint32_t bits = kt_float_bits(value);
        const int32_t field = kt_exponent_field(bits), exponent = field - KT_EXPONENT_BIAS;
        factor.significand = kt_significand(bits);
        factor.sign = bits & KT_HALF_WORD;
        factor.exponent = exponent;
        factor.first = kt_maximum(1, 1 - exponent);
        if (field != 0 && field != 255) {
            factor.fields = (uint32_t)kt_maximum(0, kt_minimum(254, KT_USUAL_EXPONENTS - exponent) - factor.first);
        }
    }
#endif
    return factor;
}

/* x * factor */
KT_INLINE float kt_times(float x, const kt_float_factor *factor)
{
#if KT_SOFT_FLOAT
    const uint32_t bits = kt_float_bits(x);
    const int32_t field = kt_exponent_field(bits);
    if ((uint32_t)(field - factor->first) < factor->fields) {
        const uint32_t magnitude = kt_rounded_product(bits << 8 | KT_HALF_WORD, factor->significand, field + factor->exponent);
        return kt_float_of_bits(magnitude | ((bits & KT_HALF_WORD) ^ factor->sign));
    }
#endif
    return KT_SMALL_FLOAT && kt_is_one(factor->value) ? x : x * factor->value;
}

/* accumulator + (float)sum * scale */
KT_INLINE float kt_add_scaled_sum(float accumulator, int32_t sum, const kt_float_factor *scale)
{
    float product;
#if KT_SOFT_FLOAT
    const uint32_t magnitude = kt_magnitude(sum), held = kt_float_bits(accumulator);
    if (sum == 0 && scale->fields != 0 && held != KT_HALF_WORD) {
        return accumulator;
    }
    if (magnitude - 1 < (UINT32_C(1) << 24) - 1) {
        const int32_t unused = __builtin_clz(magnitude), field = KT_EXPONENT_BIAS + 31 - unused;
        if ((uint32_t)(field - scale->first) < scale->fields) {
            product = kt_float_of_bits(kt_rounded_product(magnitude << unused, scale->significand, field + scale->exponent) |
                                       (((uint32_t)sum & KT_HALF_WORD) ^ scale->sign));
            return held == 0 ? product : accumulator + product;
        }
    }
#endif
    product = (float)sum * scale->value;
    return KT_SMALL_FLOAT && kt_float_bits(accumulator) == 0 && kt_float_bits(product) << 1 != 0 ? product : accumulator + product;
}

/* A sum of positive numbers. */
typedef struct {
    uint32_t significand; /* 24 bits, the first set; 0 of an empty sum */
    int32_t exponent;     /* the field of a float32, at most KT_USUAL_EXPONENTS; 0 of an empty sum */
} kt_positive_sum;

KT_INLINE float kt_float_of_sum(kt_positive_sum sum)
{
    return sum.significand == 0 ? 0.0f : kt_float_of_bits(((uint32_t)(sum.exponent - 1) << 23) + sum.significand);
}

/* sum + term, rounded; a term that is not 0, both exponents at most KT_USUAL_EXPONENTS - 1. */
KT_INLINE kt_positive_sum kt_add_positive(kt_positive_sum sum, kt_positive_sum term)
{
    int32_t apart = sum.exponent - term.exponent;
    uint32_t fraction, bits;
    if (apart < 0) {
        const kt_positive_sum larger = term;
        term = sum;
        sum = larger;
        apart = -apart;
    }
    if (apart > 25) { /* below half of the last bit */
        return sum;
    }
    fraction = term.significand << 1 << (31 - apart);
    sum.significand += term.significand >> apart;
    if (sum.significand >= 2 * KT_LEADING_BIT) {
        fraction = fraction >> 1 | sum.significand << 31;
        sum.significand >>= 1;
        sum.exponent++;
    }
    bits = kt_rounded_float(sum.significand, fraction, sum.exponent - 1);
    sum.exponent = kt_exponent_field(bits);
    sum.significand = kt_significand(bits);
    return sum;
}

/* The square of g where it is usual and at most 2^100 or so, or 0; returns whether it is one of these. */
KT_INLINE int kt_usual_square(float g, kt_positive_sum *square)
{
    const uint32_t x = kt_float_bits(g);
    const int32_t exponent = 2 * kt_exponent_field(x) - KT_EXPONENT_BIAS;
    uint32_t bits;
    square->significand = 0;
    square->exponent = 0;
    if ((uint32_t)(exponent - 1) >= KT_USUAL_EXPONENTS - 24) {
        return x << 1 == 0;
    }
    bits = kt_rounded_product(x << 8 | KT_HALF_WORD, kt_significand(x), exponent);
    square->significand = kt_significand(bits);
    square->exponent = kt_exponent_field(bits);
    return 1;
}

#endif
