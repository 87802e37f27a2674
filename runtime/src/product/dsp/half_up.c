/* Two positions, rounded half up. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PAIRS KT_START_SUMS KT_PAIR_SUMS KT_BOTH_POSITIONS KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS
                     KT_HALF_UP("r4", "r8") KT_HALF_UP("r5", "r9") KT_HALF_UP("r6", "r10") KT_HALF_UP("r7", "r11")
                     KT_STORE_BYTES KT_LEAVE);
}
#endif
