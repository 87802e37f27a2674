/* Three sums in two words that start from something else at each position, in assembly for the Cortex-M3. */
#include "triple_product.h"

#if KT_ARMV7M

/* Each of the six of a channel starts from the next word at r1. */
#define KT_SIX_STARTED(a, b, c, d, rounding) \
    "ldm lr!, {r9-r11}\n\t" \
    KT_SIX_RESULTS("ldr r8, [r1], #4\n\t", a, b, c, d, rounding)

KT_NAKED void kt_triple_started_half_up(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX_STARTED, KT_HALF_UP));
}

KT_NAKED void kt_triple_started_away(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX_STARTED, KT_AWAY));
}

#endif
