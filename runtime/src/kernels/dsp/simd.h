/* simd.h: instructions of the DSP extension that C has no words for, one a function.
 *
 * Included where KT_DSP holds. Words hold four int8 values or two int16 values, the first in the low bits. Data of int8 may
 * lie at any address: single loads and stores of words need no alignment on these cores. */
#ifndef KT_DSP_SIMD_H
#define KT_DSP_SIMD_H

#include <arm_acle.h>
#include <stdint.h>
#include <string.h>

#include "../../product/halves.h"

static inline uint32_t kt_load_word(const void *address)
{
    uint32_t word;
    memcpy(&word, address, sizeof word);
    return word;
}

static inline void kt_store_word(void *address, uint32_t word)
{
    memcpy(address, &word, sizeof word);
}

/* The same value in four bytes. */
static inline uint32_t kt_four(int32_t value)
{
    return (uint8_t)value * UINT32_C(0x01010101);
}

/* {b0, b2} of four int8 as two int16. */
static inline uint32_t kt_even(uint32_t bytes)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(bytes));
    return halves;
}

/* {b1, b3} */
static inline uint32_t kt_odd(uint32_t bytes)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

/* sums + {b0, b2}, each in 16 bits */
static inline uint32_t kt_add_even(uint32_t sums, uint32_t bytes)
{
    __asm__("sxtab16 %0, %0, %1" : "+r"(sums) : "r"(bytes));
    return sums;
}

/* sums + {b1, b3} */
static inline uint32_t kt_add_odd(uint32_t sums, uint32_t bytes)
{
    __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(sums) : "r"(bytes));
    return sums;
}

/* {low half of a, low half of b} */
static inline uint32_t kt_low_halves(uint32_t a, uint32_t b)
{
    return (uint32_t)kt_pair_of((int32_t)a, (int32_t)b);
}

/* {high half of a, high half of b} */
static inline uint32_t kt_high_halves(uint32_t a, uint32_t b)
{
    return (uint32_t)kt_pair_of_high((int32_t)a, (int32_t)b);
}

/* sum + a0 * b0 + a1 * b1 of int16 halves; exact modulo 2^32 */
static inline int32_t kt_add_products(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t total;
    __asm__("smlad %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* Sums of two int16 halves, modulo 2^16 each. */
static inline uint32_t kt_add_halves(uint32_t a, uint32_t b)
{
    return (uint32_t)__sadd16((int16x2_t)a, (int16x2_t)b);
}

/* Four int8 with -127 for -128. */
static inline uint32_t kt_symmetric(uint32_t bytes)
{
    const int8x4_t one = 0x01010101;
    return (uint32_t)__sadd8(__qsub8((int8x4_t)bytes, one), one);
}

/* sum + (a * b rounded to 2^32, ties towards plus infinity) */
static inline int32_t kt_add_high_product(int32_t a, int32_t b, int32_t sum)
{
    int32_t total;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* The low bytes of four values as a word. */
static inline uint32_t kt_bytes(int32_t first, int32_t second, int32_t third, int32_t fourth)
{
    __asm__("bfi %0, %1, #8, #8" : "+r"(first) : "r"(second));
    __asm__("bfi %0, %1, #16, #8" : "+r"(first) : "r"(third));
    __asm__("bfi %0, %1, #24, #8" : "+r"(first) : "r"(fourth));
    return (uint32_t)first;
}

/* Four int8 limited to [low, high], which hold the same value in each byte. */
static inline uint32_t kt_clamp_bytes(uint32_t bytes, uint32_t low, uint32_t high)
{
    (void)__ssub8((int8x4_t)bytes, (int8x4_t)low);
    bytes = __sel(bytes, low);
    (void)__ssub8((int8x4_t)high, (int8x4_t)bytes);
    return __sel(bytes, high);
}

/* saturate8(shift_round(sum, n)) (kt/numerics.h), n in [1, 31] */
static inline int8_t kt_rounded8(int32_t sum, int32_t n)
{
    const int32_t rounded = __ssat((sum >> n) + ((sum >> (n - 1)) & 1), 8);
    return (int8_t)(rounded < -127 ? -127 : rounded);
}

#endif
