/* Four positions times transposed weights of a forward stream. */
#include "../product.h"

#if KT_DSP
#include "backward.h"

KT_NAKED void kt_product_backward(KT_BACKWARD_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER("148") KT_START("r4-r11") KT_BACKWARD_STEPS KT_LEAVE("r4-r11", "8"));
}
#endif
