/* kt_apply_mask_s8 for the DSP extension: a word of bits for eight words of gradients.
 *
 * SEL takes each byte by a flag, and the flags lie in bits 16 to 19 of a register that MSR writes: four bits need no more than a shift. */
#include "kt/architecture.h"
#include "../mask.h"

#if KT_DSP && !KT_MVE

#include "simd.h"

/* The bytes of g whose bit is set among bits 16 to 19, else 0. */
static inline uint32_t selected(uint32_t bits, uint32_t g)
{
    uint32_t result;
    __asm__("msr APSR_g, %1\n\t"    /* no intrinsic writes the flags */
            "sel %0, %2, %3"        /* in one statement: nothing comes between */
            : "=r"(result) : "r"(bits), "r"(g), "r"(0));
    return result;
}

static inline void apply_four(uint32_t bits, const int8_t *g, int8_t *result)
{
    kt_store_word(result, selected(bits, kt_load_word(g)));
}

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = params->size & ~31;
    const int8_t *const end = g + whole;
    const int8_t *from = g;
    int8_t *to = result;
    for (; from != end; from += 32, to += 32, mask += 4) {
        const uint32_t bits = kt_load_word(mask);
        apply_four(bits << 16, from, to);
        apply_four(bits << 12, from + 4, to + 4);
        apply_four(bits << 8, from + 8, to + 8);
        apply_four(bits << 4, from + 12, to + 12);
        apply_four(bits, from + 16, to + 16);
        apply_four(bits >> 4, from + 20, to + 20);
        apply_four(bits >> 8, from + 24, to + 24);
        apply_four(bits >> 12, from + 28, to + 28);
    }
    kt_apply_mask_from(params->size, g, mask - (whole >> 3), result, whole);
}

#endif
