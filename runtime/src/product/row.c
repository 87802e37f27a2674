/* One row of a fully connected layer, int8 results. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

/* Rounded half up: ReLU layers. */
void kt_product_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_row(p, 0, 0, 0);
}

/* Ties away from zero: layers without an activation. */
void kt_product_row_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_row(p, 0, 128, 0);
}
#endif
