/* Results whose sums start from something else at each position, of exact words: weights of -128. */
#include "product.h"

#if KT_DSP

/* Eight of them: those of the first position in r4 to r7. The code's bytes follow from the stream's. */
#define KT_START_EACH_EXACT \
    "ldr r0, " KT_BIAS "\n\t" \
    "ldm r0!, {r4-r11}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldr r0, " KT_FIRST_OFFSET "\n\t" \
    "ldr r1, " KT_SECOND_OFFSET "\n\t" \
    "ldr r2, " KT_SKIP "\n\t" \
    "add r4, r4, r5, lsl #8\n\t" "add r6, r6, r7, lsl #8\n\t" \
    "add r8, r8, r9, lsl #8\n\t" "add r10, r10, r11, lsl #8\n\t" \
    "sub r4, r0\n\t" "sub r6, r0\n\t" "sub r8, r1\n\t" "sub r10, r1\n\t" \
    KT_CODE_OF("r3", "r2")

KT_IN_BOTH_ROUNDINGS(kt_product_exact_started, KT_ENTER_EXACT KT_START_EACH_EXACT KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT, "")
#endif
