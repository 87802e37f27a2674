/* Two positions, int32 sums. */
#include "product.h"

#if KT_DSP

/* Layers that add something to them before they are requantised. */
KT_NAKED void kt_product_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_PAIRS KT_START_SUMS KT_PAIR_SUMS KT_BOTH_POSITIONS KT_JUMP KT_PAIR_STEPS KT_PLAIN_SUMS_OF_PAIRED KT_STORE_WORDS KT_LEAVE);
}

/* Of exact words: gradients, whose values have 16 bits. */
KT_NAKED void kt_product_exact_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_STORE_WORDS KT_LEAVE);
}
#endif
