/* Two positions, int8 gradients of exact words. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_gradient(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_ALIKE KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_LIMITED_SUMS KT_STORE_FOURS
                     KT_LEAVE);
}
#endif
