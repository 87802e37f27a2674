/* One row of a fully connected layer, int8 results. */
#include "product.h"

#if KT_DSP

KT_ROW_IN_BOTH_ROUNDINGS(kt_product_row, KT_PAIRED_ROW, "")
#endif
