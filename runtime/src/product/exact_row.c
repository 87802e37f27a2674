/* One row of a fully connected layer, int8 results, of exact words: weights of -128. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

/* Rounded half up: ReLU layers. */
void kt_product_exact_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_row(p, 1, 0, 0);
}

/* Ties away from zero: layers without an activation. */
void kt_product_exact_row_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_row(p, 1, 128, 0);
}
#endif
