/* Two positions, int8 results, of exact words: weights of -128. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

/* Rounded half up: ReLU layers. */
void kt_product_exact_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 1, 0, KT_BIAS_ALONE);
}

/* Ties away from zero: layers without an activation. */
void kt_product_exact_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 1, 128, KT_BIAS_ALONE);
}
#endif
