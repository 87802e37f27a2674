/* Results whose sums start from something else at each position. */
#include "product.h"

#if KT_DSP

/* Eight of them: those of the first position in r4 to r7. */
#define KT_START_EACH \
    "ldr r0, " KT_BIAS "\n\t" \
    "ldm r0!, {r4-r11}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldrd r2, r3, " KT_SKIP "\n\t" \
    KT_PAIR_SUMS "add r9, r8, r9, lsl #8\n\t" "add r11, r10, r11, lsl #8\n\t"

/* Rounded half up: ReLU layers. */
KT_NAKED void kt_product_started_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PAIRS KT_START_EACH KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS
                     KT_HALF_UP("r4", "r8") KT_HALF_UP("r5", "r9") KT_HALF_UP("r6", "r10") KT_HALF_UP("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}

/* Ties away from zero: layers without an activation. */
KT_NAKED void kt_product_started_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PAIRS KT_START_EACH KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS
                     KT_AWAY("r4", "r8") KT_AWAY("r5", "r9") KT_AWAY("r6", "r10") KT_AWAY("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}
#endif
