/* One row of a fully connected layer, int8 results, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

KT_ROW_IN_BOTH_ROUNDINGS(kt_product_exact_row, KT_ROW_OF_EXACT, "")
#endif
