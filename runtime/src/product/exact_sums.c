/* Two positions, int32 sums of exact words: gradients, whose values have 16 bits. */
#include "product.h"

#if !KT_DSP
#include "portable.h"

void kt_product_exact_sums(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_totals(p, 1);
}
#endif
