/* Three sums in two words, in assembly for the Cortex-M3. */
#include "triple_product.h"

#if KT_ARMV7M

KT_NAKED void kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    __asm__ volatile("add r3, r1, r3, lsl #4\n\t"
                     "adds r3, #16\n\t"
                     "push {r0, r3, r4-r11, lr}\n\t"
                     "mov r0, r1\n\t"
                     "mov r1, r2\n\t" KT_SUMS("[sp, #4]")
                     "pop {r0, r3}\n\t"
                     "stm r0, {r4-r11}\n\t"
                     "pop {r4-r11, pc}\n\t");
}

/* The six of a channel start from its bias. */
#define KT_SIX(a, b, c, d, rounding) \
    "ldr r8, [r1], #4\n\t" \
    "ldm lr!, {r9-r11}\n\t" \
    "lsl r8, r8, #8\n\t" \
    KT_SIX_RESULTS("", a, b, c, d, rounding)

KT_NAKED void kt_triple_half_up(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX, KT_HALF_UP));
}

KT_NAKED void kt_triple_away(const kt_triple_product *product)
{
    __asm__ volatile(KT_PRODUCT(KT_SIX, KT_AWAY));
}

#endif
