/* Results whose sums start from something else at each position. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

/* Rounded half up: ReLU layers. */
void kt_product_started_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 0, 0, KT_BIAS_OF_EACH);
}

/* Ties away from zero: layers without an activation. */
void kt_product_started_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_product_results(p, 0, 128, KT_BIAS_OF_EACH);
}
#endif
