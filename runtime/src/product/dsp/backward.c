/* Products with transposed weights of a forward stream. */
#include "../product.h"

#if KT_DSP
#include "backward.h"

/* Four positions. */
KT_NAKED void kt_product_backward(KT_BACKWARD_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER("148") KT_START("r4-r11") KT_BACKWARD_STEPS KT_LEAVE("r4-r11", "8"));
}

/* One position. */
KT_NAKED void kt_product_backward_row(KT_BACKWARD_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER("112") "ldr r11, " KT_STEPS "\n\t" KT_START("r4-r7") KT_BACKWARD_ROW_STEPS
                     KT_LEAVE("r4-r7", "16"));
}
#endif
