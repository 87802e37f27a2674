/* Products with four rows of weights in three words, in assembly for the Cortex-M3.
 *
 *     r0, r1   end of the first row's values, its values      r4..r6         words
 *     r2, r3   step to the second row, weights                r7             a value
 *     r8..r12, lr   sums of both rows */
#include "../projection.h"

#if KT_ARMV7M

#include "triple_text.h"

KT_NAKED void kt_projection_words(uint32_t *words, const int8_t *x, int32_t step, const uint32_t *weights, int32_t length)
{
    __asm__ volatile("push {r0, r4-r11, lr}\n\t"
                     "ldr r0, [sp, #40]\n\t"
                     "add r0, r0, r1\n\t"
                     "mov r8, #0\n\t" "mov r9, #0\n\t" "mov r10, #0\n\t" "mov r11, #0\n\t" "mov r12, #0\n\t" "mov lr, #0\n\t"
                     "1:\n\t"
                     ".rept 4\n\t"
                     "ldm r3!, {r4-r6}\n\t"
                     "ldrsb r7, [r1, r2]\n\t"
                     "mla r11, r4, r7, r11\n\t" "mla r12, r5, r7, r12\n\t" "mla lr, r6, r7, lr\n\t"
                     "ldrsb r7, [r1], #1\n\t"
                     "mla r8, r4, r7, r8\n\t" "mla r9, r5, r7, r9\n\t" "mla r10, r6, r7, r10\n\t"
                     ".endr\n\t"
                     "cmp r1, r0\n\t"
                     "bne 1b\n\t"
                     "ldr r0, [sp], #4\n\t"
                     "stm r0, {r8-r12, lr}\n\t"
                     "pop {r4-r11, pc}\n\t");
}

#endif
