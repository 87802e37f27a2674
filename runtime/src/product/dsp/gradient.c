/* Two positions, int8 gradients of plain words. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_gradient(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PLAIN KT_START_ALIKE KT_BOTH_POSITIONS KT_JUMP KT_PLAIN_STEPS KT_LIMITED_SUMS KT_STORE_FOURS
                     KT_LEAVE);
}
#endif
