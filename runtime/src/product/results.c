/* Two positions, int8 results. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

/* Rounded half up: ReLU layers. */
void kt_product_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 0, 0, KT_BIAS_ALONE);
}

/* Ties away from zero: layers without an activation. */
void kt_product_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 0, 128, KT_BIAS_ALONE);
}
#endif
