/* Two positions, int32 sums of plain words. */
#include "product.h"

#if KT_DSP
KT_NAKED void kt_product_plain_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PLAIN KT_START_SUMS KT_BOTH_POSITIONS KT_JUMP KT_PLAIN_STEPS KT_STORE_WORDS KT_LEAVE);
}
#endif
