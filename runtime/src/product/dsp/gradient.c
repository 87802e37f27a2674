/* Two positions, int8 gradients of exact words. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_gradient(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ALIKE KT_START_EXACT_ALIKE KT_JUMP KT_EXACT_STEPS KT_LIMITED_SUMS KT_STORE_FOURS KT_LEAVE);
}

/* Of sums that start from something else at each position: eight words and the shift for each four channels. */
#define KT_START_EACH_EXACT \
    "ldr r0, " KT_BIAS "\n\t" \
    "ldm r0!, {r4-r11}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldr r0, " KT_FIRST_OFFSET "\n\t" \
    "ldr r1, " KT_SECOND_OFFSET "\n\t" \
    "ldr r2, " KT_SKIP "\n\t" \
    "sub r4, r4, r0\n\t" "sub r6, r6, r0\n\t" "sub r8, r8, r1\n\t" "sub r10, r10, r1\n\t" \
    "add r4, r4, r5, lsl #8\n\t" "add r6, r6, r7, lsl #8\n\t" "add r8, r8, r9, lsl #8\n\t" "add r10, r10, r11, lsl #8\n\t" \
    KT_CODE_OF("r3", "r2")
#define KT_LIMITED_STARTED_SUMS \
    "ldr r1, " KT_BIAS "\n\t" "ldr r0, [r1], #4\n\t" "str r1, " KT_BIAS "\n\t" KT_LIMIT_SUMS

KT_NAKED void kt_product_started_gradient(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_EACH_EXACT KT_JUMP KT_EXACT_STEPS KT_LIMITED_STARTED_SUMS KT_STORE_FOURS KT_LEAVE);
}
#endif
