/* Results whose requantisation is trained, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

/* From the stream, behind its weights, to the epilogue and back, 48 bytes further on: where the stream was lies an offset. */
#define KT_TO_EPILOGUE "push {r12}\n\t" "ldr r12, [sp, #60]\n\t"
#define KT_FROM_EPILOGUE "mov r0, r12\n\t" "pop {r12}\n\t" "str r0, " KT_BIAS "\n\t" "add r12, #48\n\t"

KT_IN_BOTH_ROUNDINGS(kt_product_exact_scaled, KT_SUMS_OF_EXACT KT_TO_EPILOGUE, KT_FROM_EPILOGUE)
KT_ROW_IN_BOTH_ROUNDINGS(kt_product_exact_scaled_row, KT_ROW_OF_EXACT KT_TO_EPILOGUE, KT_FROM_EPILOGUE)
#endif
