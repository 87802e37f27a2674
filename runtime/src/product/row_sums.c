/* One row of a fully connected layer, int32 sums. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

/* Layers that add something to them before they are requantised. */
void kt_product_row_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_row_totals_of(p, 0);
}

/* Of exact words. */
void kt_product_exact_row_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_row_totals_of(p, 1);
}
#endif
