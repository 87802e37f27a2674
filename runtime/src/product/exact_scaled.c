/* Results whose requantisation is trained, of exact words: weights of -128. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product_exact_scaled, kt_results_of, 1, KT_BIAS_SCALED)
KT_IN_BOTH_ROUNDINGS(kt_product_exact_scaled_row, kt_row_of, 1, KT_BIAS_SCALED)
#endif
