/* Results whose sums start from something else at each position. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product_started, kt_results_of, 0, KT_BIAS_OF_EACH)
#endif
