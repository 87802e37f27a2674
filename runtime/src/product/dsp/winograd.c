/* The products of winograd.h at every point. Registers: r4..r7 and r8..r11 the sums of both tiles, r12 weights, lr values, r0..r3 words.
 * The stack: where sums go, their end, the end of this point's values, bytes of a point's values. */
#include "../winograd.h"
#include "text.h"

#if KT_DSP
KT_NAKED void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #16\n\t"
        "mov r12, r0\n\t"
        "mov lr, r1\n\t"
        "lsl r3, #3\n\t"
        "add r1, r3\n\t"
        "strd r1, r3, [sp, #8]\n\t"
        "add r3, r2, #512\n\t"
        "strd r2, r3, [sp]\n\t"
        "2:\n\t" /* the next point */
        "mov r4, #0\n\t" "mov r5, #0\n\t" "mov r6, #0\n\t" "mov r7, #0\n\t"
        "mov r8, #0\n\t" "mov r9, #0\n\t" "mov r10, #0\n\t" "mov r11, #0\n\t"
        "1:\n\t" /* four pairs: 64 products */
        ".irp j, 0, 1, 2, 3\n\t"
        KT_TWO_WORDS("r2", "r3", "lr", "8 * \\j")
        KT_TWO_WORDS("r0", "r1", "r12", "16 * \\j")
        "smlad r4, r0, r2, r4\n\t" "smlad r8, r0, r3, r8\n\t"
        "smlad r5, r1, r2, r5\n\t" "smlad r9, r1, r3, r9\n\t"
        KT_TWO_WORDS("r0", "r1", "r12", "16 * \\j + 8")
        "smlad r6, r0, r2, r6\n\t" "smlad r10, r0, r3, r10\n\t"
        "smlad r7, r1, r2, r7\n\t" "smlad r11, r1, r3, r11\n\t"
        ".endr\n\t"
        "ldr r0, [sp, #8]\n\t"
        "add r12, #64\n\t"
        "add lr, #32\n\t"
        "cmp lr, r0\n\t"
        "bne 1b\n\t"
        "ldrd r2, r1, [sp]\n\t"
        "ldr r3, [sp, #12]\n\t"
        "stm r2!, {r4-r11}\n\t"
        "add r0, r3\n\t"
        "str r2, [sp]\n\t"
        "str r0, [sp, #8]\n\t"
        "cmp r2, r1\n\t"
        "bne.w 2b\n\t"
        "add sp, #16\n\t"
        "pop {r4-r11, pc}\n\t");
}
#endif
