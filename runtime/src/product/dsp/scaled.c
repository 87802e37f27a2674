/* Results whose requantisation is trained: it stands behind the bias. */
#include "product.h"

#if KT_DSP

/* From the stream, behind its weights, to the epilogue and back, 48 bytes further on. */
#define KT_TO_EPILOGUE "str r12, " KT_STREAM "\n\t" "ldr r12, " KT_BIAS "\n\t"
#define KT_FROM_EPILOGUE "str r12, " KT_BIAS "\n\t" "ldr r12, " KT_STREAM "\n\t" "add r12, #48\n\t"

KT_IN_BOTH_ROUNDINGS(kt_product_scaled, KT_PAIRED_SUMS KT_TO_EPILOGUE, KT_FROM_EPILOGUE)
KT_ROW_IN_BOTH_ROUNDINGS(kt_product_scaled_row, KT_PAIRED_ROW KT_TO_EPILOGUE, KT_FROM_EPILOGUE)
#endif
