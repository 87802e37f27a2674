/* Three sums in two words that start from something else at each position, in assembly for the Cortex-M3. */
#include "triple_product.h"

#if KT_ARMV7M

/* Three results of the words a, b at r0, r0 + r12 and r0 + 2 r12, whose starts are at r1. r9, r10, r11: multiplier, addend, shift. */
#define KT_STARTED(low, sum, rounding) "ldr r8, [r1], #4\n\t" KT_REQUANTIZE(low, sum, "r8", "r9", "r10", "r11", rounding)
#define KT_THREE_STARTED(a, b, rounding) \
    KT_DECODE(a, b) \
    KT_STARTED(b, "r3", rounding) \
    "strb r3, [r0]\n\t" \
    KT_STARTED(b, a, rounding) \
    "strb " a ", [r0, r12]\n\t" \
    KT_STARTED(b, "r2", rounding) \
    "strb r2, [r0, r12, lsl #1]\n\t"
#define KT_SIX_STARTED(a, b, c, d, rounding) \
    "ldm lr!, {r9-r11}\n\t" \
    KT_THREE_STARTED(a, b, rounding) \
    "add r0, r12\n\t" \
    "add r0, r0, r12, lsl #1\n\t" \
    KT_THREE_STARTED(c, d, rounding)

KT_NAKED void kt_triple_started_half_up(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX_STARTED, KT_HALF_UP));
}

KT_NAKED void kt_triple_started_away(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX_STARTED, KT_AWAY));
}

#endif
