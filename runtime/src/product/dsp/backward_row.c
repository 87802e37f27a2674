/* One position times transposed weights of a forward stream. */
#include "../product.h"

#if KT_DSP
#include "backward.h"

KT_NAKED void kt_product_backward_row(KT_BACKWARD_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER("112") "ldr r11, " KT_STEPS "\n\t" KT_START("r4-r7") KT_BACKWARD_ROW_STEPS
                     KT_LEAVE("r4-r7", "16"));
}
#endif
