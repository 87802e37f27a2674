/* Results whose requantisation is trained. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product_scaled, kt_results_of, 0, KT_BIAS_SCALED)
KT_IN_BOTH_ROUNDINGS(kt_product_scaled_row, kt_row_of, 0, KT_BIAS_SCALED)
#endif
