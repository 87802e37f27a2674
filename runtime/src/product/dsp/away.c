/* Two positions, ties away from zero. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PAIRS KT_START_SUMS KT_PAIR_SUMS KT_BOTH_POSITIONS KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS
                     KT_AWAY("r4", "r8") KT_AWAY("r5", "r9") KT_AWAY("r6", "r10") KT_AWAY("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}
#endif
