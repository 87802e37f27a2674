/* triple_product.h: three sums in two words, in assembly for the Cortex-M3: the loop needs all 14 general registers.
 *
 *     r4..r7    words of the first channel          r0, r1    panel, weights
 *     r8..r11   those of the second                 r2, r3    words of the panel
 *     r12, lr   weights of both channels */
#ifndef KT_ARMV7M_TRIPLE_PRODUCT_H
#define KT_ARMV7M_TRIPLE_PRODUCT_H

#include "../triple.h"
#include "triple_text.h"

/* One value of the window: 12 products by 8 multiplications. */
#define KT_STEP(i) \
    "ldrb.w r12, [r1, #2*" i "]\n\t" \
    "ldrb.w lr, [r1, #2*" i "+1]\n\t" \
    "ldrd r2, r3, [r0, #16*" i "]\n\t" \
    "mla r4, r2, r12, r4\n\t" "mla r5, r3, r12, r5\n\t" \
    "mla r8, r2, lr, r8\n\t" "mla r9, r3, lr, r9\n\t" \
    "ldrd r2, r3, [r0, #16*" i "+8]\n\t" \
    "mla r6, r2, r12, r6\n\t" "mla r7, r3, r12, r7\n\t" \
    "mla r10, r2, lr, r10\n\t" "mla r11, r3, lr, r11\n\t"
#define KT_FOUR_STEPS(a, b, c, d) KT_STEP(a) KT_STEP(b) KT_STEP(c) KT_STEP(d)

/* All of a panel from its start words on; end: where its end is kept. Fours of values by twos, a single one first. */
#define KT_SUMS(end) \
    "ldm r0!, {r4-r7}\n\t" \
    "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t" \
    "ldr r2, " end "\n\t" \
    "subs r2, r2, r0\n\t" \
    "lsls r2, r2, #25\n\t" /* the sign: an odd number of fours */ \
    "bpl 1f\n\t" \
    KT_FOUR_STEPS("0", "1", "2", "3") \
    "ldr r2, " end "\n\t" \
    "adds r1, #8\n\t" \
    "adds r0, #64\n\t" \
    "cmp r0, r2\n\t" \
    "beq 2f\n\t" \
    "1:\n\t" \
    KT_FOUR_STEPS("0", "1", "2", "3") KT_FOUR_STEPS("4", "5", "6", "7") \
    "ldr r2, " end "\n\t" \
    "adds r1, #16\n\t" \
    "adds r0, #128\n\t" \
    "cmp r0, r2\n\t" \
    "bne 1b\n\t" \
    "2:\n\t"

/* Three results of the words a, b at r0, r0 + r12 and r0 + 2 r12. start: leaves what the next sum starts from, 256 times as large, in r8; r9, r10,
 * r11: multiplier, addend, shift. */
#define KT_THREE_RESULTS(start, a, b, rounding) \
    KT_DECODE(a, b) \
    start KT_REQUANTIZE(b, "r3", "r8", "r9", "r10", "r11", rounding) \
    "strb r3, [r0]\n\t" \
    start KT_REQUANTIZE(b, a, "r8", "r9", "r10", "r11", rounding) \
    "strb " a ", [r0, r12]\n\t" \
    start KT_REQUANTIZE(b, "r2", "r8", "r9", "r10", "r11", rounding) \
    "strb r2, [r0, r12, lsl #1]\n\t"
#define KT_SIX_RESULTS(start, a, b, c, d, rounding) \
    KT_THREE_RESULTS(start, a, b, rounding) \
    "add r0, r12\n\t" \
    "add r0, r0, r12, lsl #1\n\t" \
    KT_THREE_RESULTS(start, c, d, rounding)

/* six: makes the results of a channel. Kept from sp on: panel, end, weights, bias, epilogue, result, stride, end of the result, and the words of
 * the second channel. */
#define KT_PRODUCT(six, rounding) \
    "push {r4-r11, lr}\n\t" \
    "ldm r0, {r2-r9}\n\t" \
    "sub sp, #52\n\t" \
    "stm sp, {r2-r9}\n\t" \
    "mov r1, r4\n\t" \
    "3:\n\t" \
    "ldr r0, [sp]\n\t" \
    KT_SUMS("[sp, #4]") \
    "add r0, sp, #32\n\t" \
    "stm r0, {r8-r11}\n\t" \
    "str r1, [sp, #8]\n\t" \
    "ldrd r1, lr, [sp, #12]\n\t" \
    "ldrd r0, r12, [sp, #20]\n\t" \
    six("r4", "r5", "r6", "r7", rounding) \
    "ldr r0, [sp, #20]\n\t" \
    "add r2, sp, #32\n\t" \
    "ldm r2, {r4-r7}\n\t" \
    "adds r0, #1\n\t" \
    six("r4", "r5", "r6", "r7", rounding) \
    "strd r1, lr, [sp, #12]\n\t" \
    "ldr r0, [sp, #20]\n\t" \
    "ldr r2, [sp, #28]\n\t" \
    "ldr r1, [sp, #8]\n\t" \
    "adds r0, #2\n\t" \
    "str r0, [sp, #20]\n\t" \
    "cmp r0, r2\n\t" \
    "bne.w 3b\n\t" \
    "add sp, #52\n\t" \
    "pop {r4-r11, pc}\n\t"

#endif
