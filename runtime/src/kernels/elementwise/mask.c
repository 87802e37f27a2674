/* Gradients that stop where a forward result was clamped. */
#include "kt/architecture.h"
#include "mask.h"
#include "../../product/halves.h"

#if !KT_DSP && !KT_VECTOR

/* 1 and the highest bit in each byte of a word. */
#define KT_EACH UINT32_C(0x01010101)
#define KT_HIGHEST UINT32_C(0x80808080)

/* A byte of bits for every eight elements, each 1 where low < y < high. */
static void kt_save_bytes(const kt_mask_params *params, const int8_t *from, const int8_t *end, uint8_t *mask)
{
    const int32_t low = params->low, high = params->high;
    int32_t i;
    for (; from != end; from += 8) {
        uint32_t bits = 0;
        for (i = 7; i >= 0; i--) {
            bits = bits << 1 | (uint32_t)((low - from[i]) & (from[i] - high)) >> 31;
        }
        *mask++ = (uint8_t)bits;
    }
}

#if KT_SMALL_DSP
/* In each byte of a word: the least value that passes, and how many pass beyond it. */
typedef struct {
    uint32_t least, width;
} kt_mask_bounds;

KT_INLINE kt_mask_bounds kt_bounds_of(int32_t least, int32_t end)
{
    return (kt_mask_bounds){(uint8_t)(least - 128) * KT_EACH, (uint32_t)(end - 1 - least) * KT_EACH};
}

/* The highest bit of each byte that passes: 0 <= y - least <= width, without a sign. */
KT_INLINE uint32_t kt_four_within(const int8_t *y, kt_mask_bounds bounds)
{
    uint32_t word = kt_aligned_word(y);
    __asm__("usub8 %[word], %[word], %[least]\n\t"
            "usub8 %[word], %[width], %[word]\n\t"
            "sel %[word], %[highest], %[none]"
            : [word] "+r"(word)
            : [least] "r"(bounds.least), [width] "r"(bounds.width), [highest] "r"(KT_HIGHEST), [none] "r"(0));
    return word;
}
#else
/* Bounds of bytes u = y + 128, in each byte of a word: `least` <= 128 <= `end`, the highest bit of both left out. */
typedef struct {
    uint32_t least, end;
} kt_mask_bounds;

KT_INLINE kt_mask_bounds kt_bounds_of(int32_t least, int32_t end)
{
    return (kt_mask_bounds){(uint32_t)least * KT_EACH, ((uint32_t)end & 127) * KT_EACH};
}

/* The highest bit of each byte of which least <= u < end. No byte borrows from the next: its highest bit is set before, and clear in what is
 * subtracted. */
KT_INLINE uint32_t kt_four_within(const int8_t *y, kt_mask_bounds bounds)
{
    const uint32_t u = kt_aligned_word(y) ^ KT_HIGHEST;
    const uint32_t filled = u | KT_HIGHEST;
    return (u | (filled - bounds.least)) & ~(u & (filled - bounds.end)) & KT_HIGHEST;
}
#endif

/* Whether a mask has such bounds, and words lie where they are loaded. */
KT_INLINE int kt_has_bounds(const kt_mask_params *params, const int8_t *y, kt_mask_bounds *bounds)
{
    const int32_t least = params->low + 1 + 128, end = params->high + 128;
    *bounds = kt_bounds_of(least, end);
    return kt_has_words(y) && least >= 0 && least < 128 && end >= 128 && end < 256;
}

/* The same as four bits. */
KT_INLINE uint32_t kt_four_bits(const int8_t *y, kt_mask_bounds bounds)
{
    return (kt_four_within(y, bounds) * UINT32_C(0x00204081)) >> 28;
}

static void kt_save_words(const int8_t *from, const int8_t *last, uint8_t *mask, kt_mask_bounds bounds)
{
    for (; from != last; from += 8) {
        *mask++ = (uint8_t)(kt_four_bits(from, bounds) | kt_four_bits(from + 4, bounds) << 4);
    }
}

/* Keeps one bit of each element of a forward result: 1 where low < y < high. Lowest bit first, the last byte filled
 * with 0. A clamped element stops its gradient (kt_apply_mask_s8). */
void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t whole = params->size & -8;
    kt_mask_bounds bounds;
    if (kt_has_bounds(params, y, &bounds)) {
        kt_save_words(y, y + whole, mask, bounds);
    } else {
        kt_save_bytes(params, y, y + whole, mask);
    }
    kt_save_mask_from(*params, y, mask, whole);
}

/* Four elements where bytes hold 1. */
KT_INLINE void kt_keep_within(const int8_t *g, uint32_t kept, int8_t *result)
{
    const uint32_t word = kt_aligned_word(g) & ((kept << 8) - kept);
    kt_put_aligned_word(result, word);
}

/* Four elements by four bits. */
KT_INLINE void kt_keep_four(const int8_t *g, uint32_t bits, int8_t *result)
{
    kt_keep_within(g, (bits * UINT32_C(0x00204081)) & KT_EACH, result);
}

/* Stops a gradient where a saved bit is 0: result = g where bit i of the mask is 1 (lowest bit first), else 0. */
void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = kt_has_words(g) && kt_has_words(result) ? params->size & -8 : 0;
    const int8_t *from = g, *const end = g + whole;
    const uint8_t *byte = mask;
    int8_t *to = result;
    for (; from != end; from += 8, to += 8) {
        const uint32_t bits = *byte++;
        kt_keep_four(from, bits & 15, to);
        kt_keep_four(from + 4, bits >> 4, to + 4);
    }
    kt_apply_mask_from(params->size, g, mask, result, whole);
}

/* Stops a gradient where the forward result was clamped: result = g where low < y < high, else 0. */
void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    kt_mask_bounds bounds;
    const int32_t whole = kt_has_bounds(params, y, &bounds) && kt_has_words(g) && kt_has_words(result) ? params->size & -4 : 0;
    const int8_t *from = g, *const end = g + whole, *at = y;
    int8_t *to = result;
    for (; from != end; from += 4, at += 4, to += 4) {
        kt_keep_within(from, kt_four_within(at, bounds) >> 7, to);
    }
    kt_mask_gradient_from(*params, g, y, result, whole);
}
#endif
