/* Sums of one row with four channels, in assembly for the Cortex-M3.
 *
 *     r0         values           r1, r2    weights        r3        how many are left
 *     r4..r7     sums             r8..r12   a value and its weights */
#include "../triple_dense.h"

#if KT_ARMV7M

#include "triple_text.h"

#define KT_ONE \
    "ldrsb r8, [r0], #1\n\t" \
    "ldrb r9, [r1], #1\n\t" "ldrb r10, [r1], #1\n\t" "ldrb r11, [r2], #1\n\t" "ldrb r12, [r2], #1\n\t" \
    "mla r4, r9, r8, r4\n\t" "mla r5, r10, r8, r5\n\t" "mla r6, r11, r8, r6\n\t" "mla r7, r12, r8, r7\n\t"

KT_NAKED void kt_dense_sums(const int8_t *x, const uint8_t *first, const uint8_t *second, int32_t length, uint32_t offset, uint32_t sums[4])
{
    __asm__ volatile("push {r4-r11}\n\t"
                     "ldr r4, [sp, #32]\n\t"
                     "mov r5, r4\n\t" "mov r6, r4\n\t" "mov r7, r4\n\t"
                     "subs r3, #4\n\t"
                     "blt 2f\n\t"
                     "1:\n\t" KT_ONE KT_ONE KT_ONE KT_ONE
                     "subs r3, #4\n\t"
                     "bge 1b\n\t"
                     "2:\n\t"
                     "adds r3, #4\n\t"
                     "beq 4f\n\t"
                     "3:\n\t" KT_ONE
                     "subs r3, #1\n\t"
                     "bne 3b\n\t"
                     "4:\n\t"
                     "ldr r8, [sp, #36]\n\t"
                     "stm r8, {r4-r7}\n\t"
                     "pop {r4-r11}\n\t"
                     "bx lr\n\t");
}

#endif
