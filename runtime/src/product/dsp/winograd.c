/* The products of winograd.h at every point. Registers: r4..r7 and r8..r11 the sums of both tiles, r12 weights, lr values, r0..r3 words.
 * The stack: where sums go, the end of this point's values, bytes of a point's values, the end of the sums. */
#include "../winograd.h"
#include "text.h"

#if KT_DSP

/* Two neighbouring words, in front of which the address moves. */
#if KT_LOADS_TWO_WORDS
#define KT_NEXT_TWO_WORDS(a, b, at, bytes) "ldrd " a ", " b ", [" at ", #" bytes "]!\n\t"
#else
#define KT_NEXT_TWO_WORDS(a, b, at, bytes) "ldr.w " a ", [" at ", #" bytes "]!\n\t" "ldr.w " b ", [" at ", #4]\n\t"
#endif

/* One pair of input channels: 16 products; the first two words of the weights are in r0 and r1. */
#define KT_ADD_PAIR(offset) \
    "smlad r4, r0, r2, r4\n\t" "smlad r8, r0, r3, r8\n\t" \
    "smlad r5, r1, r2, r5\n\t" "smlad r9, r1, r3, r9\n\t" \
    KT_TWO_WORDS("r0", "r1", "r12", offset) \
    "smlad r6, r0, r2, r6\n\t" "smlad r10, r0, r3, r10\n\t" \
    "smlad r7, r1, r2, r7\n\t" "smlad r11, r1, r3, r11\n\t"

/* All pairs of a point, four at a time; then the end of the next point. */
#define KT_ADD_POINT \
    "1:\n\t" \
    KT_NEXT_TWO_WORDS("r2", "r3", "lr", "32") KT_NEXT_TWO_WORDS("r0", "r1", "r12", "64") KT_ADD_PAIR("8") \
    ".irp j, 1, 2, 3\n\t" \
    KT_TWO_WORDS("r2", "r3", "lr", "8 * \\j") KT_TWO_WORDS("r0", "r1", "r12", "16 * \\j") KT_ADD_PAIR("16 * \\j + 8") \
    ".endr\n\t" \
    "ldr r0, [sp, #4]\n\t" \
    "cmp lr, r0\n\t" \
    "bne 1b\n\t" \
    "ldr r1, [sp, #8]\n\t" \
    "add r1, r0\n\t" \
    "str r1, [sp, #4]\n\t"

#define KT_FROM_ZERO \
    "mov r4, #0\n\t" "mov r5, #0\n\t" "mov r6, #0\n\t" "mov r7, #0\n\t" \
    "mov r8, #0\n\t" "mov r9, #0\n\t" "mov r10, #0\n\t" "mov r11, #0\n\t"

/* The sums of two results become those of rows 1 and 2 together, and their difference goes where row 3 reads it. */
#define KT_ADD_AND_SUBTRACT(a, b) \
    "ldm r0!, {r1, r2}\n\t" \
    "sub r1, r1, " a "\n\t" "sub r2, r2, " b "\n\t" \
    "add " a ", r1, " a ", lsl #1\n\t" "add " b ", r2, " b ", lsl #1\n\t" \
    "strd r1, r2, [r0, #24]\n\t"

KT_NAKED void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #20\n\t"
        "sub r12, r0, #64\n\t"
        "sub lr, r1, #32\n\t"
        "lsl r3, #3\n\t"
        "add r1, lr, r3\n\t"
        "strd r2, r1, [sp]\n\t"
        "add r2, #256\n\t"
        "strd r3, r2, [sp, #8]\n\t"
        "2:\n\t" /* the next column */
        KT_FROM_ZERO KT_ADD_POINT
        "ldr r0, [sp]\n\t"
        "stm r0, {r4-r11}\n\t"
        KT_FROM_ZERO KT_ADD_POINT
        "ldr r0, [sp]\n\t"
        KT_ADD_AND_SUBTRACT("r4", "r5") KT_ADD_AND_SUBTRACT("r6", "r7")
        KT_ADD_AND_SUBTRACT("r8", "r9") KT_ADD_AND_SUBTRACT("r10", "r11")
        KT_ADD_POINT
        "ldr r0, [sp]\n\t"
        "stm r0!, {r4-r11}\n\t"
        "str r0, [sp]\n\t"
        "ldm r0, {r4-r11}\n\t"
        KT_ADD_POINT
        "ldr r0, [sp]\n\t"
        "ldr r1, [sp, #12]\n\t"
        "stm r0!, {r4-r11}\n\t"
        "str r0, [sp]\n\t"
        "cmp r0, r1\n\t"
        "bne.w 2b\n\t"
        "add sp, #20\n\t"
        "pop {r4-r11, pc}\n\t");
}
#endif
