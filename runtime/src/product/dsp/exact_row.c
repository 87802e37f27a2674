/* One row of a fully connected layer, int8 results, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

/* Rounded half up: ReLU layers. */
KT_NAKED void kt_product_exact_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS
                     KT_HALF_UP_ROW("r4") KT_HALF_UP_ROW("r5") KT_HALF_UP_ROW("r6") KT_HALF_UP_ROW("r7") KT_STORE_ROW KT_LEAVE);
}

/* Ties away from zero: layers without an activation. */
KT_NAKED void kt_product_exact_row_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS
                     KT_AWAY_ROW("r4") KT_AWAY_ROW("r5") KT_AWAY_ROW("r6") KT_AWAY_ROW("r7") KT_STORE_ROW KT_LEAVE);
}
#endif
