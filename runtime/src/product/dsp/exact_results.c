/* Two positions, int8 results, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

KT_IN_BOTH_ROUNDINGS(kt_product_exact, KT_SUMS_OF_EXACT, "")
#endif
