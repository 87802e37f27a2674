/* Back through the weights of three sums in two words, in assembly for the Cortex-M3.
 *
 *     r4..r7    sums of a value, four positions      r0, r1    panel, weights
 *     r8..r11   those of the next value              r2, r3    gradients
 *     r12, lr   weights of both values */
#include "../triple_backward.h"

#if KT_ARMV7M

#include "triple_text.h"

/* An output channel: its place in the weights of two, and bytes of the panel. */
#define KT_CHANNEL(place, panel) \
    "ldrb.w r12, [r1, #" place "]\n\t" \
    "ldrb.w lr, [r1, #2+" place "]\n\t" \
    "ldrd r2, r3, [r0, #" panel "]\n\t" \
    "mla r4, r2, r12, r4\n\t" "mla r5, r3, r12, r5\n\t" \
    "mla r8, r2, lr, r8\n\t" "mla r9, r3, lr, r9\n\t" \
    "ldrd r2, r3, [r0, #8+" panel "]\n\t" \
    "mla r6, r2, r12, r6\n\t" "mla r7, r3, r12, r7\n\t" \
    "mla r10, r2, lr, r10\n\t" "mla r11, r3, lr, r11\n\t"

/* From sp on: sums, end, panel, weights, step, end of the panel. */
KT_NAKED void kt_triple_back(const kt_triple_backward *product)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldm r0, {r1-r6}\n\t"
                     "sub sp, #28\n\t"
                     "stm sp, {r1-r6}\n\t"
                     "2:\n\t"
                     "ldrd r0, r1, [sp, #8]\n\t"
                     "ldr r2, [sp]\n\t"
                     "ldm r2, {r4-r11}\n\t"
                     "ldr r3, [sp, #20]\n\t"
                     "subs r3, r3, r0\n\t"
                     "lsls r3, r3, #26\n\t" /* the sign: an odd number of pairs of channels */
                     "bmi 3f\n\t"
                     "1:\n\t" KT_CHANNEL("0", "0") KT_CHANNEL("1", "16")
                     "ldr r2, [sp, #16]\n\t"
                     "adds r0, #32\n\t"
                     "add r1, r2\n\t"
                     "3:\n\t" KT_CHANNEL("0", "0") KT_CHANNEL("1", "16")
                     "ldrd r2, r3, [sp, #16]\n\t"
                     "adds r0, #32\n\t"
                     "add r1, r2\n\t"
                     "cmp r0, r3\n\t"
                     "bne.w 1b\n\t"
                     "ldrd r2, r3, [sp]\n\t"
                     "ldr r1, [sp, #12]\n\t"
                     "stm r2!, {r4-r11}\n\t"
                     "adds r1, #4\n\t"
                     "str r2, [sp]\n\t"
                     "str r1, [sp, #12]\n\t"
                     "cmp r2, r3\n\t"
                     "bne.w 2b\n\t"
                     "add sp, #28\n\t"
                     "pop {r4-r11, pc}\n\t");
}

#endif
