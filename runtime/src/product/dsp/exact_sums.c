/* Two positions, int32 sums of exact words. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_exact_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_STORE_WORDS KT_LEAVE);
}
#endif
