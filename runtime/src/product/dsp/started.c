/* Results whose sums start from something else at each position. */
#include "product.h"

#if KT_DSP

/* Eight of them: those of the first position in r4 to r7. */
#define KT_START_EACH \
    "ldr r0, " KT_BIAS "\n\t" \
    "ldm r0!, {r4-r11}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldrd r2, r3, " KT_SKIP "\n\t" \
    KT_PAIR_SUMS "add r9, r8, r9, lsl #8\n\t" "add r11, r10, r11, lsl #8\n\t"

KT_IN_BOTH_ROUNDINGS(kt_product_started, KT_ENTER_PAIRS KT_START_EACH KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS, "")
#endif
