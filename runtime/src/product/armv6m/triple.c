/* Three sums in two words, in assembly for Cortex-M0, M0+ and M23: a multiplication overwrites the word of the panel, which is loaded
 * again for the second channel. */
#include "../triple.h"

#if KT_ARMV6M

/* One value of the window, one channel: 6 products by 4 multiplications. */
#define KT_STEP(i) \
    "ldmia r1!, {r3-r6}\n\t" \
    "ldrb r0, [r2, #2*" i "]\n\t" \
    "muls r3, r0\n\t" "muls r4, r0\n\t" "muls r5, r0\n\t" "muls r6, r0\n\t" \
    "add r8, r3\n\t" "add r9, r4\n\t" "add r10, r5\n\t" "add r11, r6\n\t"

#define KT_FOUR_STEPS(a, b, c, d) KT_STEP(a) KT_STEP(b) KT_STEP(c) KT_STEP(d)

/* words, panel, weights, end of the panel: one channel. */
static __attribute__((naked, noinline)) void kt_channel_sums(uint32_t *words __attribute__((unused)), const uint32_t *panel __attribute__((unused)),
                                                             const uint8_t *weights __attribute__((unused)),
                                                             const uint32_t *end __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r0, r4-r7}\n\t"
                     "mov r7, r3\n\t"
                     "ldmia r1!, {r3-r6}\n\t"
                     "mov r8, r3\n\t" "mov r9, r4\n\t" "mov r10, r5\n\t" "mov r11, r6\n\t"
                     "subs r3, r7, r1\n\t"
                     "lsls r3, r3, #25\n\t" /* the sign: an odd number of fours */
                     "bpl 1f\n\t"
                     KT_FOUR_STEPS("0", "1", "2", "3")
                     "adds r2, #8\n\t"
                     "cmp r1, r7\n\t"
                     "beq 2f\n\t"
                     "1:\n\t"
                     KT_FOUR_STEPS("0", "1", "2", "3") KT_FOUR_STEPS("4", "5", "6", "7")
                     "adds r2, #16\n\t"
                     "cmp r1, r7\n\t"
                     "bne 1b\n\t"
                     "2:\n\t"
                     "pop {r0, r4-r7}\n\t"
                     "mov r1, r8\n\t" "mov r2, r9\n\t"
                     "stmia r0!, {r1, r2}\n\t"
                     "mov r1, r10\n\t" "mov r2, r11\n\t"
                     "stmia r0!, {r1, r2}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "pop {r4-r7, pc}\n\t");
}

void kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length)
{
    const uint32_t *const end = panel + KT_PANEL_WORDS * (length + 1);
    kt_channel_sums(words, panel, weights, end);
    kt_channel_sums(words + KT_PANEL_WORDS, panel, weights + 1, end);
}

void kt_triple_half_up(const kt_triple_product *product)
{
    kt_triple_results(product, 0);
}

void kt_triple_away(const kt_triple_product *product)
{
    kt_triple_results(product, 128);
}

#endif
