/* Results whose requantisation is trained, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

/* From the stream, behind its weights, to the epilogue and back, 48 bytes further on: where the stream was lies an offset. */
#define KT_TO_EPILOGUE "push {r12}\n\t" "ldr r12, [sp, #60]\n\t"
#define KT_FROM_EPILOGUE "mov r0, r12\n\t" "pop {r12}\n\t" "str r0, " KT_BIAS "\n\t" "add r12, #48\n\t"

/* Two positions, rounded half up: ReLU layers. */
KT_NAKED void kt_product_exact_scaled_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT KT_TO_EPILOGUE
                     KT_HALF_UP("r4", "r8") KT_HALF_UP("r5", "r9") KT_HALF_UP("r6", "r10") KT_HALF_UP("r7", "r11")
                     KT_FROM_EPILOGUE KT_STORE_BYTES KT_LEAVE);
}

/* Two positions, ties away from zero: layers without an activation. */
KT_NAKED void kt_product_exact_scaled_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT KT_TO_EPILOGUE
                     KT_AWAY("r4", "r8") KT_AWAY("r5", "r9") KT_AWAY("r6", "r10") KT_AWAY("r7", "r11")
                     KT_FROM_EPILOGUE KT_STORE_BYTES KT_LEAVE);
}

/* One row, in the same two ways. */
KT_NAKED void kt_product_exact_scaled_row_half_up(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS KT_TO_EPILOGUE
                     KT_HALF_UP_ROW("r4") KT_HALF_UP_ROW("r5") KT_HALF_UP_ROW("r6") KT_HALF_UP_ROW("r7")
                     KT_FROM_EPILOGUE KT_STORE_ROW KT_LEAVE);
}

KT_NAKED void kt_product_exact_scaled_row_away(KT_PRODUCT_ARGUMENTS)
{
    __asm__ volatile(KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS KT_TO_EPILOGUE
                     KT_AWAY_ROW("r4") KT_AWAY_ROW("r5") KT_AWAY_ROW("r6") KT_AWAY_ROW("r7")
                     KT_FROM_EPILOGUE KT_STORE_ROW KT_LEAVE);
}
#endif
