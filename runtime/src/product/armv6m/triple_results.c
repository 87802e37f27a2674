/* Three results of two words, in assembly for Cortex-M0, M0+ and M23. No instruction gives more than 32 bits of a product: a sum of 21 bits
 * is multiplied by three digits of the multiplier. A larger sum, whose bias is large, takes all three to C.
 *
 *     r5..r7   digits                     r8, r9, r10   bias, addend, shift       r0, r2, r4   whatever else
 *     r1       the first result           r12, lr       second and third sum     r3           the sum, then the result */
#include "../triple.h"

#if KT_ARMV6M

#define KT_HALF_UP
#define KT_AWAY "asrs r4, r3, #31\n\t" "lsls r4, r4, #7\n\t" "adds r3, r3, r4\n\t" /* a product has the sign of its sum; of 0 either will do */

/* What a sum starts from, added to r3: the bias, or one of the words that r8 points to. */
#define KT_BIAS(place) "add r3, r8\n\t"
#define KT_START(place) "mov r4, r8\n\t" "ldr r4, [r4, #" place "]\n\t" "adds r3, r3, r4\n\t"

/* r3 to its result. */
#define KT_REQUANTIZE(start, rounding) \
    start \
    "asrs r4, r3, #20\n\t" \
    "adds r4, #1\n\t" \
    "lsrs r4, r4, #1\n\t" \
    "bne 9f\n\t" /* beyond 21 bits */ \
    "movs r4, r3\n\t" \
    "muls r4, r5\n\t" \
    "asrs r4, r4, #10\n\t" \
    "movs r2, r3\n\t" \
    "muls r2, r6\n\t" \
    "adds r4, r4, r2\n\t" \
    "asrs r4, r4, #10\n\t" \
    "muls r3, r7\n\t" \
    "adds r3, r3, r4\n\t" \
    "asrs r3, r3, #4\n\t" \
    rounding \
    "add r3, r9\n\t" \
    "mov r4, r10\n\t" \
    "asrs r3, r4\n\t" \
    "sxtb r4, r3\n\t" \
    "cmp r4, r3\n\t" \
    "beq 1f\n\t" \
    "asrs r3, r3, #31\n\t" \
    "movs r4, #127\n\t" \
    "eors r3, r4\n\t" \
    "1:\n\t"

/* wide: the same function in C. */
#define KT_RESULTS(start, rounding, wide) \
    ".syntax unified\n\t" \
    "push {r4-r7, lr}\n\t" \
    "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t" \
    "push {r0-r2, r4-r7}\n\t" \
    "ldmia r2!, {r5-r7}\n\t" \
    "ldmia r2!, {r3, r4}\n\t" \
    "mov r8, r3\n\t" "mov r9, r4\n\t" \
    "ldmia r2!, {r3, r4}\n\t" \
    "mov r10, r3\n\t" "mov r11, r4\n\t" \
    "ldmia r0!, {r3, r4}\n\t" \
    "lsls r2, r4, #11\n\t" "asrs r2, r2, #11\n\t" "mov lr, r2\n\t" /* the third sum */ \
    "subs r4, r4, r2\n\t" \
    "asrs r0, r4, #11\n\t" \
    "subs r3, r3, r0\n\t" \
    "lsls r0, r3, #11\n\t" "asrs r0, r0, #11\n\t" /* the first */ \
    "subs r3, r3, r0\n\t" \
    "asrs r3, r3, #10\n\t" \
    "asrs r4, r4, #21\n\t" \
    "adds r3, r3, r4\n\t" "mov r12, r3\n\t" \
    "movs r3, r0\n\t" \
    KT_REQUANTIZE(start("0"), rounding) \
    "strb r3, [r1]\n\t" \
    "mov r3, r12\n\t" \
    KT_REQUANTIZE(start("4"), rounding) \
    "mov r4, r11\n\t" \
    "strb r3, [r1, r4]\n\t" \
    "mov r3, lr\n\t" \
    KT_REQUANTIZE(start("8"), rounding) \
    "ldr r4, [sp, #8]\n\t" \
    "ldr r4, [r4, #28]\n\t" \
    "strb r3, [r1, r4]\n\t" \
    "pop {r0-r2, r4-r7}\n\t" \
    "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t" \
    "pop {r4-r7, pc}\n\t" \
    "9:\n\t" \
    "pop {r0-r2, r4-r7}\n\t" \
    "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t" \
    "bl " wide "\n\t" \
    "pop {r4-r7, pc}\n\t"

#define KT_UNUSED __attribute__((unused))

__attribute__((used)) static void kt_wide_results_half_up(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale)
{
    kt_results_of_words(words, result, scale, 0);
}

__attribute__((used)) static void kt_wide_results_away(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale)
{
    kt_results_of_words(words, result, scale, 128);
}

__attribute__((naked)) void kt_triple_results_half_up(const uint32_t words[2] KT_UNUSED, int8_t *result KT_UNUSED,
                                                      const kt_triple_scale *scale KT_UNUSED)
{
    __asm__ volatile(KT_RESULTS(KT_BIAS, KT_HALF_UP, "kt_wide_results_half_up"));
}

__attribute__((naked)) void kt_triple_results_away(const uint32_t words[2] KT_UNUSED, int8_t *result KT_UNUSED,
                                                   const kt_triple_scale *scale KT_UNUSED)
{
    __asm__ volatile(KT_RESULTS(KT_BIAS, KT_AWAY, "kt_wide_results_away"));
}

__attribute__((used)) static void kt_wide_started_half_up(const uint32_t words[2], int8_t *result, const kt_started_scale *scale)
{
    kt_started_of_words(words, result, scale, 0);
}

__attribute__((used)) static void kt_wide_started_away(const uint32_t words[2], int8_t *result, const kt_started_scale *scale)
{
    kt_started_of_words(words, result, scale, 128);
}

__attribute__((naked)) void kt_triple_started_results_half_up(const uint32_t words[2] KT_UNUSED, int8_t *result KT_UNUSED,
                                                              const kt_started_scale *scale KT_UNUSED)
{
    __asm__ volatile(KT_RESULTS(KT_START, KT_HALF_UP, "kt_wide_started_half_up"));
}

__attribute__((naked)) void kt_triple_started_results_away(const uint32_t words[2] KT_UNUSED, int8_t *result KT_UNUSED,
                                                           const kt_started_scale *scale KT_UNUSED)
{
    __asm__ volatile(KT_RESULTS(KT_START, KT_AWAY, "kt_wide_started_away"));
}

#endif
