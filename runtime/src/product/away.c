/* Two positions, ties away from zero: layers without an activation. */
#include "product.h"

#if !KT_DSP
#include "portable.h"

void kt_product_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 128);
}
#endif
