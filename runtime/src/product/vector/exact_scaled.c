/* Results whose requantisation is trained, of exact words: weights of -128. */
#include "../product.h"

#if KT_VECTOR
#include "product.h"

/* Two positions, rounded half up: ReLU layers. */
void kt_product_exact_scaled_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_results(p, 1, 0, KT_BIAS_SCALED);
}

/* Two positions, ties away from zero: layers without an activation. */
void kt_product_exact_scaled_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_results(p, 1, 128, KT_BIAS_SCALED);
}

/* One row, in the same two ways. */
void kt_product_exact_scaled_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_row(p, 1, 0, 1);
}

void kt_product_exact_scaled_row_away(KT_PRODUCT_ARGUMENTS)
{
    const kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    kt_vector_row(p, 1, 128, 1);
}
#endif
