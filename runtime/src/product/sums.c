/* Two positions, int32 sums: layers that add something to them before they are requantised. */
#include "product.h"

#if !KT_DSP
#include "portable.h"

void kt_product_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_totals(p, 0);
}
#endif
