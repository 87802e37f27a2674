/* halves.h: arithmetic on the halves of words, one instruction each on cores with the DSP extension. */
#ifndef KT_HALVES_H
#define KT_HALVES_H

#include "kt/architecture.h"
#include "kt/numerics.h"

#if KT_DSP || KT_SMALL_DSP
#include <arm_acle.h>
#endif

#define KT_INLINE static inline __attribute__((always_inline))

/* A loop of sums in all registers: gcc would reorder its additions and products, and spill some. */
#if defined(__GNUC__) && !defined(__clang__)
#define KT_IN_ORDER __attribute__((noinline, optimize("no-tree-reassoc", "no-schedule-insns", "ira-algorithm=priority")))
#else
#define KT_IN_ORDER
#endif

KT_INLINE int32_t kt_low(int32_t word)
{
    return (int16_t)(uint16_t)(uint32_t)word;
}

KT_INLINE int32_t kt_high(int32_t word)
{
    return (int16_t)(uint16_t)((uint32_t)word >> 16);
}

/* Word of two values. */
KT_INLINE int32_t kt_pair_of(int32_t low, int32_t high)
{
#if KT_DSP
    int32_t word;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(low), "r"(high));
    return word;
#else
    return (int32_t)((uint32_t)(low & 0xFFFF) | (uint32_t)high << 16);
#endif
}

/* Word of the high halves of two values. */
KT_INLINE int32_t kt_pair_of_high(int32_t low, int32_t high)
{
#if KT_DSP
    int32_t word;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(word) : "r"(high), "r"(low));
    return word;
#else
    return kt_pair_of(kt_high(low), kt_high(high));
#endif
}

/* Four bytes at any address. */
KT_INLINE int32_t kt_word_at(const void *bytes)
{
    int32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Whether four bytes from here on are the bytes of a word, lowest first, for a load that needs an address of words. */
KT_INLINE int kt_has_words(const void *bytes)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return ((uintptr_t)bytes & 3) == 0;
#else
    (void)bytes;
    return 0;
#endif
}

/* The word of four bytes at an address of words. */
KT_INLINE uint32_t kt_aligned_word(const void *bytes)
{
#if defined(__GNUC__)
    bytes = __builtin_assume_aligned(bytes, 4);
#endif
    return (uint32_t)kt_word_at(bytes);
}

KT_INLINE void kt_put_aligned_word(void *bytes, uint32_t word)
{
#if defined(__GNUC__)
    bytes = __builtin_assume_aligned(bytes, 4);
#endif
    memcpy(bytes, &word, sizeof word);
}

/* Zeros in words, at an address of words. The library of RISC-V clears byte by byte, and the compiler would call it. */
KT_INLINE void kt_clear_words(void *to, int32_t words)
{
#if defined(__riscv) && defined(__GNUC__)
    uint8_t *byte = to;
    for (; words >= 4; words -= 4, byte += 16) {
        kt_put_aligned_word(byte, 0);
        kt_put_aligned_word(byte + 4, 0);
        kt_put_aligned_word(byte + 8, 0);
        kt_put_aligned_word(byte + 12, 0);
        __asm__ volatile("" ::: "memory");
    }
    for (; words > 0; words--, byte += 4) {
        kt_put_aligned_word(byte, 0);
        __asm__ volatile("" ::: "memory");
    }
#else
    memset(to, 0, (size_t)words * 4);
#endif
}

/* Four bytes as the pairs (0, 2) and (1, 3). */
KT_INLINE void kt_split_four(const int8_t *x, int32_t *even, int32_t *odd)
{
#if KT_DSP
    const int32_t bytes = kt_word_at(x); /* one load: these cores take any address */
    __asm__("sxtb16 %0, %1" : "=r"(*even) : "r"(bytes));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(*odd) : "r"(bytes));
#else
    *even = kt_pair_of(x[0], x[2]);
    *odd = kt_pair_of(x[1], x[3]);
#endif
}

/* sum + a * b */
KT_INLINE int32_t kt_add_product(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    int32_t total;
    __asm__("mla %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum)); /* gcc takes two instructions where the sum is a constant */
    return total;
#else
    return sum + a * b;
#endif
}

/* sum + low(a) * low(b), and the same of the high halves */
KT_INLINE int32_t kt_add_low(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    return __smlabb(a, b, sum);
#else
    return sum + kt_low(a) * kt_low(b);
#endif
}

KT_INLINE int32_t kt_add_high(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    return __smlatt(a, b, sum);
#else
    return sum + kt_high(a) * kt_high(b);
#endif
}

/* sum + low(a) * low(b) + high(a) * high(b) */
KT_INLINE int32_t kt_add_both(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    return __smlad(a, b, sum);
#else
    return sum + kt_low(a) * kt_low(b) + kt_high(a) * kt_high(b);
#endif
}

/* sum + low(a) * high(b), and sum + high(a) * low(b) */
KT_INLINE int32_t kt_add_low_high(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    return __smlabt(a, b, sum);
#else
    return sum + kt_low(a) * kt_high(b);
#endif
}

KT_INLINE int32_t kt_add_high_low(int32_t sum, int32_t a, int32_t b)
{
#if KT_DSP
    return __smlatb(a, b, sum);
#else
    return sum + kt_high(a) * kt_low(b);
#endif
}

/* kt_add_saturated */
KT_INLINE int32_t kt_add_words(int32_t a, int32_t b)
{
#if KT_DSP || KT_SMALL_DSP
    return __qadd(a, b);
#else
    return kt_add_saturated(a, b);
#endif
}

/* Sum and difference of both halves. */
KT_INLINE int32_t kt_add_pairs(int32_t a, int32_t b)
{
#if KT_DSP
    return __sadd16(a, b);
#else
    return kt_pair_of(kt_low(a) + kt_low(b), kt_high(a) + kt_high(b));
#endif
}

KT_INLINE int32_t kt_subtract_pairs(int32_t a, int32_t b)
{
#if KT_DSP
    return __ssub16(a, b);
#else
    return kt_pair_of(kt_low(a) - kt_low(b), kt_high(a) - kt_high(b));
#endif
}

/* A value limited to int8, which most are within. */
KT_INLINE int8_t kt_saturate(int32_t value)
{
#if defined(__riscv)
    const int8_t low = (int8_t)value; /* no instruction compares with a constant */
    return low == value ? low : (int8_t)((value >> 31) ^ 127);
#else
    return (int8_t)kt_clamp(value, -128, 127);
#endif
}

/* sum * 256 * multiplier >> 32, |sum| < 2^23 */
KT_INLINE int32_t kt_high_product(int32_t sum, int32_t multiplier)
{
#if KT_ARMV6M
    /* No instruction gives more than 32 bits of a product: three digits of the multiplier. */
    if ((uint32_t)sum + (UINT32_C(1) << 20) < UINT32_C(1) << 21) {
        const int32_t low = (sum * (multiplier & 1023)) >> 10;
        const int32_t middle = (sum * ((multiplier >> 10) & 1023) + low) >> 10;
        return (sum * (multiplier >> 20) + middle) >> 4;
    }
#endif
    return (int32_t)(((int64_t)(sum * 256) * multiplier) >> 32);
}

/* kt_requantize_right of a sum of 23 bits and its sign. */
KT_INLINE int32_t kt_short_share(int32_t sum, int32_t multiplier, int32_t n)
{
    const int32_t high = (kt_high_product(sum, multiplier) + 64) >> 7;
    return (((high + (high >> 31)) >> (n - 1)) + 1) >> 1;
}

/* saturate_to_int8(((sum * 256 * multiplier >> 32) + addend) >> shift), of 256 * sum: the requantisation of product.h. */
KT_INLINE int8_t kt_requantize_scaled(int32_t sum, int32_t multiplier, int32_t addend, int32_t shift)
{
#if KT_DSP
    int32_t scaled;
    __asm__("smmla %0, %1, %2, %3" : "=r"(scaled) : "r"(sum), "r"(multiplier), "r"(addend));
    return (int8_t)__ssat(scaled >> shift, 8);
#else
    return kt_saturate((kt_high_product(sum >> 8, multiplier) + addend) >> shift);
#endif
}

/* The same of the sum itself. */
KT_INLINE int8_t kt_short_requantize(int32_t sum, int32_t multiplier, int32_t addend, int32_t shift)
{
    return kt_requantize_scaled(sum * 256, multiplier, addend, shift);
}

#endif
