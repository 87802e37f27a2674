/* Two positions, int8 results. */
#include "product.h"

#if !KT_DSP
#include "in_c.h"

KT_IN_BOTH_ROUNDINGS(kt_product, kt_results_of, 0, KT_BIAS_ALONE)
#endif
