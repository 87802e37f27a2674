/* Two positions, rounded half up: ReLU layers. */
#include "product.h"

#if !KT_DSP
#include "portable.h"

void kt_product_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 0);
}
#endif
