/* kt/numerics.h: the integer and float32 primitives that every kernel is made of.
 *
 * The same formulas as codegen/kiloc/numerics.py, equal bit for bit on every host and every core.
 *
 * Integers: gemmlowp's fixed-point arithmetic and the TensorFlow Lite 8-bit quantisation specification (forward),
 * one rounding shift (backward). `x >> n` of a negative x is used as floor(x / 2^n), which C99 leaves to the
 * compiler: the check below refuses a compiler that does otherwise. Left shifts are multiplications, so that no
 * expression here is undefined for any argument in the stated range.
 *
 * Floats: strict IEEE 754 binary32, round to nearest even, subnormals kept, one operation a statement, which kt/strict_float.h
 * sees to. Nothing here needs libm. */
#ifndef KT_NUMERICS_H
#define KT_NUMERICS_H

#include "kt/architecture.h"
#include "kt/strict_float.h"

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Does not compile where a right shift of a negative number is not arithmetic. */
typedef char kt_right_shift_is_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

/* Trainable addends saturate at +-this, so that sums of them and of a frozen product stay near int32. */
#define KT_ADDEND_LIMIT (INT32_C(1) << 30)

/* -- integers ------------------------------------------------------------------------------------------- */

static inline int32_t kt_minimum(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t kt_maximum(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* x limited to [low, high]. */
static inline int32_t kt_clamp(int32_t x, int32_t low, int32_t high)
{
    return kt_maximum(low, kt_minimum(x, high));
}

static inline int32_t kt_saturate32(int64_t x)
{
    if (x > INT32_MAX) {
        return INT32_MAX;
    }
    return x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* a + b, saturated at int32. */
static inline int32_t kt_add_saturated(int32_t a, int32_t b)
{
    const int32_t sum = (int32_t)((uint32_t)a + (uint32_t)b);
    if (((a ^ sum) & (b ^ sum)) < 0) { /* both have another sign than their sum */
        return a < 0 ? INT32_MIN : INT32_MAX;
    }
    return sum;
}

/* x * 2^n, saturated at int32; n in [0, 31]. */
static inline int32_t kt_shift_left_saturated(int32_t x, int32_t n)
{
    const int32_t shifted = (int32_t)((uint32_t)x << n);
    return shifted >> n == x ? shifted : (x >> 31) ^ INT32_MAX;
}

/* Clamp to [-127, 127]: gradients and trainable codes never hold -128. */
static inline int8_t kt_saturate8(int32_t x)
{
    return (int8_t)kt_clamp(x, -127, 127);
}

/* clamp(x + offset, low, high) for any x, without leaving int32; offset, low and high are int8 values. */
static inline int8_t kt_clamp_with_offset(int32_t x, int32_t offset, int32_t low, int32_t high)
{
    return (int8_t)(kt_clamp(x, low - offset, high - offset) + offset);
}

/* a * b / 2^31, rounded to nearest, ties towards plus infinity, from products of halves: for cores whose products have 32 bits, where one of 64 is a
 * call of the library. Not INT32_MIN * INT32_MIN. */
static inline int32_t kt_high_product_of_halves(int32_t a, int32_t b)
{
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const uint32_t a_low = (uint32_t)a & 0xFFFF, b_low = (uint32_t)b & 0xFFFF;
    const int32_t first = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16), second = (int32_t)a_low * b_high;
    const uint32_t middle = ((uint32_t)first & 0xFFFF) + ((uint32_t)second & 0xFFFF);
    const int32_t high = a_high * b_high + (first >> 16) + (second >> 16) + (int32_t)(middle >> 16);
    return (int32_t)(2 * (uint32_t)high + (((middle & 0xFFFF) + 0x4000) >> 15));
}

/* a * b / 2^31, rounded to nearest, ties towards plus infinity; only INT32_MIN * INT32_MIN saturates.
 * gemmlowp's SaturatingRoundingDoublingHighMul: its nudge and truncating division give this for both signs. */
static inline int32_t kt_high_multiply(int32_t a, int32_t b)
{
#if KT_ARMV6M && !defined(KT_SMALL)
    return a == INT32_MIN && b == INT32_MIN ? INT32_MAX : kt_high_product_of_halves(a, b);
#else
    const int64_t product = ((int64_t)a * b + (INT64_C(1) << 30)) >> 31;
    return product > INT32_MAX ? INT32_MAX : (int32_t)product;
#endif
}

/* x / 2^n, rounded to nearest, ties away from zero; n in [0, 31]. gemmlowp's RoundingDivideByPOT. */
static inline int32_t kt_divide_by_power(int32_t x, int32_t n)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << n) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> n) + ((x & mask) > threshold ? 1 : 0);
}

/* kt_requantize for a multiplier that is not negative and a right shift n in [1, 31]: no step can overflow or saturate. */
static inline int32_t kt_requantize_right(int32_t x, int32_t multiplier, int32_t n)
{
#if KT_SMALL_DSP
    int32_t high, twice;
    if (__builtin_add_overflow(x, x, &twice)) {
        high = (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
    } else {
        __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(twice), "r"(multiplier));
    }
#elif KT_ARMV6M && !defined(KT_SMALL)
    const int32_t high = kt_high_product_of_halves(x, multiplier);
#else
    const int32_t high = (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
#endif
    return (((high + (high >> 31)) >> (n - 1)) + 1) >> 1;
}

/* x * multiplier * 2^(shift - 31), rounded twice as TensorFlow Lite Micro does: once to 2^31, once by the right shift.
 * Any shift: a left shift saturates at int32, shifts beyond 31 count as 31. */
#ifdef KT_SMALL
int32_t kt_requantize_any(int32_t x, int32_t multiplier, int32_t shift); /* one function for all kernels of a build for size */

static inline int32_t kt_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    if (multiplier >= 0 && (uint32_t)(-shift - 1) < 31) {
        return kt_requantize_right(x, multiplier, -shift);
    }
    return kt_requantize_any(x, multiplier, shift);
}
#else
static inline int32_t kt_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return kt_high_multiply(kt_shift_left_saturated(x, kt_minimum(shift, 31)), multiplier);
    }
    return kt_divide_by_power(kt_high_multiply(x, multiplier), kt_minimum(-shift, 31));
}
#endif

/* The same product rounded once, ties away from zero: LiteRT's FULLY_CONNECTED. shift in [-31, 29]. */
static inline int32_t kt_requantize_once(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t down = 31 - shift;
    const int64_t half = INT64_C(1) << (down - 1);
    const int64_t product = (int64_t)x * multiplier;
    return kt_saturate32((product + half - (product < 0 ? 1 : 0)) >> down);
}

/* x * multiplier * 2^(shift - 31) of |x| < 2^47 with 16 bits of the multiplier, rounded once, ties towards plus infinity: TensorFlow Lite's
 * product of a 64-bit sum. multiplier >= 0, shift in [-31, 7]; the result must fit in int32. */
static inline int32_t kt_requantize_wide(int64_t x, int32_t multiplier, int32_t shift)
{
    const int32_t reduced = multiplier < INT32_C(0x7FFF0000) ? (multiplier + (INT32_C(1) << 15)) >> 16 : 0x7FFF;
    const int32_t down = 15 - shift;
    return (int32_t)((x * reduced + (INT64_C(1) << (down - 1))) >> down);
}

/* x / 2^n, ties towards plus infinity: the only rounding of the backward pass. Any n: beyond 31 the result is 0,
 * n < 0 shifts left (by at most 31) and saturates at int32. A right shift cannot overflow: (x >> n) + bit n-1. */
static inline int32_t kt_shift_round(int32_t x, int32_t n)
{
    if (n <= 0) {
        return kt_shift_left_saturated(x, kt_minimum(-n, 31));
    }
    return n > 31 ? 0 : (x >> n) + ((x >> (n - 1)) & 1);
}

/* Bits of a magnitude: floor(log2(x)) + 1, and 0 for 0. */
static inline int32_t kt_bit_length(uint32_t x)
{
    int32_t bits = 0;
    int32_t step;
    for (step = 16; step > 0; step >>= 1) {
        if (x >> step) {
            x >>= step;
            bits += step;
        }
    }
    return bits + (x ? 1 : 0);
}

/* sqrt(v), rounded down. */
static inline uint32_t kt_integer_root(uint64_t v)
{
    uint64_t root = 0, bit = v >> 32 ? UINT64_C(1) << 62 : UINT64_C(1) << 30;
    for (; bit; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (uint32_t)root;
}

/* |x|, also of INT32_MIN. */
static inline uint32_t kt_magnitude(int32_t x)
{
    return x < 0 ? 0U - (uint32_t)x : (uint32_t)x;
}

/* The smallest shift, at least 0, that brings sums to seven bits; largest: their largest magnitude. */
static inline int32_t kt_fitting_shift(uint32_t largest)
{
    return kt_maximum(kt_bit_length(largest) - 7, 0);
}

/* -- float32 -------------------------------------------------------------------------------------------- */

static inline uint32_t kt_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float kt_float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Whether x is 1. */
static inline int kt_is_one(float x)
{
    return kt_float_bits(x) == kt_float_bits(1.0f);
}

/* Whether x is neither an infinity nor no number. */
static inline int kt_is_finite(float x)
{
    return (kt_float_bits(x) & UINT32_C(0x7F800000)) != UINT32_C(0x7F800000);
}

/* a - b. A build for size has one function of the library for sums and differences. */
static inline float kt_minus(float a, float b)
{
#if KT_SMALL_FLOAT
    uint32_t bits = kt_float_bits(b) ^ UINT32_C(0x80000000);
    __asm__("" : "+r"(bits)); /* or the compiler makes a difference of it again */
    return a + kt_float_of_bits(bits);
#else
    return a - b;
#endif
}

/* |x|: the sign bit cleared. */
static inline float kt_absolute(float x)
{
    return kt_float_of_bits(kt_float_bits(x) & UINT32_C(0x7FFFFFFF));
}

/* The larger of two magnitudes (both >= 0); NaN counts as the largest. Compared as integers: cheap without an FPU. */
static inline float kt_larger_magnitude(float a, float b)
{
    return kt_float_bits(a) > kt_float_bits(b) ? a : b;
}

/* 2^exponent; exponent in [-126, 127]. */
static inline float kt_power_of_two(int32_t exponent)
{
    return kt_float_of_bits((uint32_t)(exponent + 127) << 23);
}

/* x * power, a power of two. A build for size adds exponents where x and the result are usual numbers. */
static inline float kt_times_power(float x, float power)
{
#if KT_SMALL_FLOAT
    const uint32_t bits = kt_float_bits(x), exponent = (kt_float_bits(power) >> 23) - 127;
    const uint32_t field = (bits >> 23) & 255;
    if (bits << 1 == 0) {
        return x;
    }
    if (field - 1 < 254 && field + exponent - 1 < 254) {
        return kt_float_of_bits(bits + (exponent << 23));
    }
#endif
    return x * power;
}

/* The smallest e >= lowest with largest * 2^-e <= limit; largest >= 0 (0 gives lowest), limit > 0.
 * Read from the bits of largest / limit: its exponent, one more if the mantissa is not zero. */
static inline int32_t kt_exponent_for(float largest, float limit, int32_t lowest)
{
    const uint32_t bits = kt_float_bits(largest / limit);
    const int32_t exponent = (int32_t)(bits >> 23) - 127 + ((bits & UINT32_C(0x7FFFFF)) ? 1 : 0);
    return bits ? kt_maximum(exponent, lowest) : lowest;
}

/* floor(x) of |x| < 2^31. */
static inline int32_t kt_floor(float x)
{
    const int32_t truncated = (int32_t)x;
    return truncated - ((float)truncated > x ? 1 : 0);
}

/* floor(x + 0.5), saturated at +-2^30; NaN gives -2^30. */
static inline int32_t kt_round_half_up(float x)
{
    const float limit = 1073741824.0f;
    const float shifted = x + 0.5f;
    if (!(shifted > -limit)) {
        return -(INT32_C(1) << 30);
    }
    return shifted < limit ? kt_floor(shifted) : INT32_C(1) << 30;
}

/* ln 2 in two parts; the first has so few bits that its product with an exponent is exact. */
#define KT_LN2_HIGH 0.693359375f
#define KT_LN2_LOW (-2.12194440e-4f)

/* e^x for x <= 0: Cody-Waite reduction x = n ln 2 + r, Taylor polynomial of degree 7 in r. Below -87 it is 0. */
static inline float kt_exp(float x)
{
    static const float coefficient[7] = {1.38888892e-3f, 8.33333377e-3f, 4.16666679e-2f, 0.166666672f,
                                         0.5f,           1.0f,           1.0f};
    float p = 1.98412701e-4f;
    float turns, r, part;
    int32_t n, i;
    if (x < -87.0f) {
        return 0.0f;
    }
    turns = x * 1.44269504f;
    turns = turns + 0.5f;
    n = kt_floor(turns);
    part = (float)n * KT_LN2_HIGH;
    r = kt_minus(x, part);
    part = (float)n * KT_LN2_LOW;
    r = kt_minus(r, part);
    for (i = 0; i < 7; i++) {
        p = p * r;
        p = p + coefficient[i];
    }
    return p * kt_power_of_two(n);
}

/* ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then 2 atanh((m - 1) / (m + 1)) as a series. */
static inline float kt_log(float x)
{
    static const float coefficient[4] = {0.142857149f, 0.200000003f, 0.333333343f, 1.0f};
    const uint32_t bits = kt_float_bits(x);
    float m = kt_float_of_bits((bits & UINT32_C(0x7FFFFF)) | UINT32_C(0x3F800000));
    float p = 0.111111112f;
    float e, s, z, part;
    int32_t exponent = (int32_t)(bits >> 23) - 127;
    int32_t i;
    if (m > 1.41421356f) {
        m = m * 0.5f;
        exponent = exponent + 1;
    }
    e = (float)exponent;
    s = kt_minus(m, 1.0f);
    part = m + 1.0f;
    s = s / part;
    z = s * s;
    for (i = 0; i < 4; i++) {
        p = p * z;
        p = p + coefficient[i];
    }
    s = 2.0f * s;
    p = s * p;
    part = e * KT_LN2_LOW;
    p = p + part;
    part = e * KT_LN2_HIGH;
    return p + part;
}

/* Square root of a normal x, 0 for x <= 0 and NaN: four Newton steps from a guess made on the bits. */
static inline float kt_sqrt(float x)
{
    float y, quotient;
    int32_t i;
    if (!(x > 0.0f)) {
        return 0.0f;
    }
    y = kt_float_of_bits((kt_float_bits(x) >> 1) + UINT32_C(0x1FC00000));
    for (i = 0; i < 4; i++) {
        quotient = x / y;
        y = y + quotient;
        y = 0.5f * y;
    }
    return y;
}

#ifdef __cplusplus
}
#endif
#endif
