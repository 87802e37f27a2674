/* triple_text.h: what the assembly of this folder shares: from two words to three results. */
#ifndef KT_ARMV7M_TRIPLE_TEXT_H
#define KT_ARMV7M_TRIPLE_TEXT_H

#define KT_NAKED __attribute__((naked))
/* The text reads the arguments, not C. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* The words a, b as sums: r3, a, r2. */
#define KT_DECODE(a, b) \
    "sbfx r2, " b ", #0, #21\n\t" \
    "sub " b ", " b ", r2\n\t" \
    "sub " a ", " a ", " b ", asr #11\n\t" \
    "sbfx r3, " a ", #0, #21\n\t" \
    "sub " a ", " a ", r3\n\t" \
    "asr " a ", " a ", #10\n\t" \
    "add " a ", " a ", " b ", asr #21\n\t"

/* How a product is rounded: as product.h says. It has the sign of the sum; where it is 0, either does. */
#define KT_HALF_UP(low, product)
#define KT_AWAY(low, product) "asr " low ", " product ", #31\n\t" "add " product ", " product ", " low ", lsl #7\n\t"

/* The result of a sum: bias times 256, multiplier, addend, shift. */
#define KT_REQUANTIZE(low, sum, bias, multiplier, addend, shift, rounding) \
    "add " sum ", " bias ", " sum ", lsl #8\n\t" \
    "smull " low ", " sum ", " sum ", " multiplier "\n\t" \
    rounding(low, sum) \
    "add " sum ", " addend "\n\t" \
    "asr " sum ", " shift "\n\t" \
    "ssat " sum ", #8, " sum "\n\t"

#endif
