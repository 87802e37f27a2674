/* in_c.h: the products of product.h that no assembly computes: in vectors on a computer, else in portable C. */
#ifndef KT_PRODUCT_IN_C_H
#define KT_PRODUCT_IN_C_H

#include "product.h"

#if KT_VECTOR
#include "vector/product.h"
#else
#include "portable.h"
#endif

/* A product in both ways to round: half up, of ReLU layers, and ties away from zero, of layers without an activation. results: kt_results_of or
 * kt_row_of. */
#define KT_IN_BOTH_ROUNDINGS(name, results, exact, kind) \
    void name##_half_up(KT_PRODUCT_ARGUMENTS) \
    { \
        const kt_product p = KT_PRODUCT_OF_ARGUMENTS; \
        results(p, exact, 0, kind); \
    } \
    void name##_away(KT_PRODUCT_ARGUMENTS) \
    { \
        const kt_product p = KT_PRODUCT_OF_ARGUMENTS; \
        results(p, exact, 128, kind); \
    }

#endif
