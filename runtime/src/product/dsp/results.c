/* Two positions, int8 results. */
#include "product.h"

#if KT_DSP

KT_IN_BOTH_ROUNDINGS(kt_product, KT_PAIRED_SUMS, "")
#endif
