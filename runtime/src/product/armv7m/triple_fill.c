/* The words of a panel, in assembly for the Cortex-M3.
 *
 *     r0         words       r1..r3   values of the three positions
 *     r4, r5     their sums  r6..r8   values, then words           r12   how many are left */
#include "../triple_panel.h"

#if KT_ARMV7M

#include "triple_text.h"

#define KT_ONE \
    "ldrsb r6, [r1], #1\n\t" "ldrsb r7, [r2], #1\n\t" "ldrsb r8, [r3], #1\n\t" \
    "add r6, r6, r7, lsl #10\n\t" \
    "add r8, r8, r7, lsl #21\n\t" \
    "strd r6, r8, [r0], #16\n\t" \
    "add r4, r6\n\t" \
    "add r5, r8\n\t"

KT_NAKED void kt_fill_three(uint32_t *word, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count, uint32_t sums[2])
{
    __asm__ volatile("push {r4-r8}\n\t"
                     "ldrd r12, r6, [sp, #20]\n\t"
                     "ldrd r4, r5, [r6]\n\t"
                     "subs r12, #4\n\t"
                     "blt 2f\n\t"
                     "1:\n\t" KT_ONE KT_ONE KT_ONE KT_ONE
                     "subs r12, #4\n\t"
                     "bge 1b\n\t"
                     "2:\n\t"
                     "adds r12, #4\n\t"
                     "beq 4f\n\t"
                     "3:\n\t" KT_ONE
                     "subs r12, #1\n\t"
                     "bne 3b\n\t"
                     "4:\n\t"
                     "ldr r6, [sp, #24]\n\t"
                     "strd r4, r5, [r6]\n\t"
                     "pop {r4-r8}\n\t"
                     "bx lr\n\t");
}

#endif
