/* One row of a fully connected layer, int8 results, of exact words: weights of -128. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product_exact_row, kt_row_of, 1, KT_BIAS_ALONE)
#endif
