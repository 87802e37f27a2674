/* Results whose sums start from something else at each position, of exact words: weights of -128. */
#include "../product.h"

#if KT_VECTOR
#include "product.h"

/* Rounded half up: ReLU layers. */
void kt_product_exact_started_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_results(p, 1, 0, KT_BIAS_OF_EACH);
}

/* Ties away from zero: layers without an activation. */
void kt_product_exact_started_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_results(p, 1, 128, KT_BIAS_OF_EACH);
}
#endif
