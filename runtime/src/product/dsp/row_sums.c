/* One row of a fully connected layer, int32 sums. */
#include "product.h"

#if KT_DSP

/* Layers that add something to them before they are requantised. */
KT_NAKED void kt_product_row_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_ROW KT_START_SUMS KT_PAIR_SUMS KT_JUMP KT_ROW_STEPS KT_PLAIN_ROW_SUMS
                     "ldr r0, " KT_RESULT "\n\t" "stm r0!, {r4-r7}\n\t" KT_LEAVE);
}

/* Of exact words. */
KT_NAKED void kt_product_exact_row_sums(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS
                     "ldr r0, " KT_RESULT "\n\t" "stm r0!, {r4-r7}\n\t" KT_LEAVE);
}
#endif
