/* Results whose sums start from something else at each position, of exact words: weights of -128. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product_exact_started, kt_results_of, 1, KT_BIAS_OF_EACH)
#endif
