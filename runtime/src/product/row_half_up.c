/* One row of a fully connected layer, rounded half up. */
#include "product.h"

#if !KT_DSP
#include "portable.h"

void kt_product_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_row(p, 0);
}
#endif
