/* Two positions, int32 sums. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

/* Layers that add something to them before they are requantised. */
void kt_product_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_totals_of(p, 0);
}

/* Of exact words: gradients, whose values have 16 bits, and weights of -128. */
void kt_product_exact_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_totals_of(p, 1);
}
#endif
