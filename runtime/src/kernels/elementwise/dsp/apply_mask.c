/* kt_apply_mask_s8 for the DSP extension: a word of bits for eight words of gradients.
 *
 * SEL takes each byte by a flag, and the flags lie in bits 16 to 19 of a register that MSR writes: four bits need no more than a shift.
 * Elements that are no words take the portable loop: in a model they are. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

/* 16 bytes at multiples of 4. bits: of the first four in bits 16 to 19, the others behind them. */
#define SELECT(word, bits) "msr APSR_g, " bits "\n\t" "sel " word ", " word ", %[zero]\n\t"
#define APPLY_SIXTEEN \
    "ldm %[from]!, {r4, r5, r6, r8}\n\t" \
    SELECT("r4", "%[first]") SELECT("r5", "%[second]") SELECT("r6", "%[third]") SELECT("r8", "%[fourth]") \
    "stm %[to]!, {r4, r5, r6, r8}\n\t"

static inline void apply_sixteen(uint32_t first, uint32_t second, uint32_t third, uint32_t fourth, const int8_t **from, int8_t **to)
{
    __asm__ volatile(APPLY_SIXTEEN /* no intrinsic writes the flags, and nothing may come between */
                     : [from] "+r"(*from), [to] "+r"(*to)
                     : [first] "r"(first), [second] "r"(second), [third] "r"(third), [fourth] "r"(fourth), [zero] "r"(0)
                     : "r4", "r5", "r6", "r8", "memory");
}

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = (((uintptr_t)g | (uintptr_t)result) & 3) != 0 ? 0 : params->size & ~31;
    const int8_t *const end = g + whole;
    const int8_t *from = g;
    int8_t *to = result;
    for (; from != end; mask += 4) {
        const uint32_t bits = kt_load_word(mask);
        apply_sixteen(bits << 16, bits << 12, bits << 8, bits << 4, &from, &to);
        apply_sixteen(bits, bits >> 4, bits >> 8, bits >> 12, &from, &to);
    }
    kt_apply_mask_from(params->size, g, mask - (whole >> 3), result, whole);
}

#endif
