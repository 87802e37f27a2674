/* Two positions, int8 results, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

/* Rounded half up: ReLU layers. */
KT_NAKED void kt_product_exact_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT
                     KT_HALF_UP("r4", "r8") KT_HALF_UP("r5", "r9") KT_HALF_UP("r6", "r10") KT_HALF_UP("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}

/* Ties away from zero: layers without an activation. */
KT_NAKED void kt_product_exact_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT
                     KT_AWAY("r4", "r8") KT_AWAY("r5", "r9") KT_AWAY("r6", "r10") KT_AWAY("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}
#endif
