/* Gradients that stop where a forward result was clamped, for the DSP extension. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE
#include "../../dsp/simd.h"
#include "mask.h"

/* Two words of results to a byte of bits: the sum of the differences of bytes high - low. Where element i of the first word
 * passes, byte i of `low` is 0 instead of 2^i, and where that of the second does, byte i of `high` is 2^(i+4) more than 2^i.
 *
 * The comparison is that of kt_select. */
#define WITHIN(word) \
    "usub8 " word ", " word ", %[above]\n\t" \
    "usub8 " word ", %[width], " word "\n\t"
#define SAVE_EIGHT \
    "ldm %[from]!, {r4, r5}\n\t" \
    WITHIN("r4") "sel r4, %[zero], %[low]\n\t" \
    WITHIN("r5") "sel r5, %[high], %[low]\n\t" \
    "usad8 r4, r5, r4\n\t" \
    "strb r4, [%[mask]], #1\n\t"

/* Bits of `whole` elements, a multiple of 16 at a multiple of 4; returns for how many they are saved. Without optimisation there
 * are too few registers. */
static inline int32_t kt_save_words(kt_range range, const int8_t *y, uint8_t *mask, int32_t whole)
{
#ifdef __OPTIMIZE__
    const int8_t *const end = y + whole;
    while (y != end) {
        __asm__ volatile(SAVE_EIGHT SAVE_EIGHT
                         : [from] "+r"(y), [mask] "+r"(mask)
                         : [above] "r"(range.above), [width] "r"(range.width), [zero] "r"(0), [low] "r"(UINT32_C(0x08040201)),
                           [high] "r"(UINT32_C(0x88442211))
                         : "r4", "r5", "memory");
    }
    return whole;
#else
    (void)range, (void)y, (void)mask, (void)whole;
    return 0;
#endif
}

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t whole = kt_is_range(params) && ((uintptr_t)y & 3) == 0 ? params->size & ~15 : 0;
    const int32_t saved = kt_save_words(kt_range_of(params), y, mask, whole);
    kt_save_mask_from(*params, y, mask, saved);
}

/* A word of bits for eight words of gradients.
 *
 * SEL takes each byte by a flag. An addition of bytes sets the flags, one where a byte and itself make 256 or more, so
 * bit i of four goes to the highest of byte i: times 2^7 + 2^14 + 2^21 + 2^28, where no two terms meet. MSR would write
 * flags at once, but not in every emulator. Elements that are no words take the portable loop: in a model they are.
 *
 * bits: the position of the word's four. */
#define SELECT(word, bits) \
    "ubfx %[flags], %[mask], #" bits ", #4\n\t" \
    "mul %[flags], %[flags], %[spread]\n\t" \
    "uadd8 %[flags], %[flags], %[flags]\n\t" \
    "sel " word ", " word ", %[zero]\n\t"
#define APPLY_SIXTEEN(first, second, third, fourth) \
    "ldm %[from]!, {r4, r5, r6, r8}\n\t" \
    SELECT("r4", first) SELECT("r5", second) SELECT("r6", third) SELECT("r8", fourth) \
    "stm %[to]!, {r4, r5, r6, r8}\n\t"

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = (((uintptr_t)g | (uintptr_t)result) & 3) != 0 ? 0 : params->size & ~31;
    const int8_t *const end = g + whole;
    const int8_t *from = g;
    int8_t *to = result;
    for (; from != end; mask += 4) {
        uint32_t flags;
        /* 32 bytes at multiples of 4. No more than ten registers: a build without optimisation has no more. */
        __asm__ volatile(APPLY_SIXTEEN("0", "4", "8", "12") APPLY_SIXTEEN("16", "20", "24", "28")
                         : [from] "+r"(from), [to] "+r"(to), [flags] "=&r"(flags)
                         : [mask] "r"(kt_load_word(mask)), [spread] "r"(UINT32_C(0x10204080)), [zero] "r"(0)
                         : "r4", "r5", "r6", "r8", "memory");
    }
    kt_apply_mask_from(params->size, g, mask - (whole >> 3), result, whole);
}

/* Four elements at once. */
void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    const kt_range range = kt_range_of(params);
    const int32_t whole = kt_is_range(params) ? params->size & ~7 : 0;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        kt_store_word(result + i, kt_select(range, kt_load_word(y + i), kt_load_word(g + i)));
        kt_store_word(result + i + 4, kt_select(range, kt_load_word(y + i + 4), kt_load_word(g + i + 4)));
    }
    kt_mask_gradient_from(*params, g, y, result, whole);
}
#endif
