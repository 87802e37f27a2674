/* backward.h: the products with transposed weights of a forward stream for cores with the DSP extension, as pieces of assembly.
 *
 * Eight weights of a quad, two of each channel, are two words of the stream. Put together by value, {a, c} of both, their low bytes are
 * the weights A and C; what is left is 256 B and 256 D. Registers:
 *
 *     r4..r7    sums of the first value, four positions; or of four values, one position
 *     r8..r11   the same of the second value
 *     r12, lr   stream, panel
 *
 * The loop over quads is unrolled and entered in the middle, as those of product.h are. */
#ifndef KT_DSP_BACKWARD_H
#define KT_DSP_BACKWARD_H

#include "../product.h"
#include "text.h"

/* Offsets of the arguments from sp, after two more words: bytes of the code that the first pass leaves out. */
#define KT_SKIP "[sp]"
#define KT_SUMS "[sp, #44]"
#define KT_END "[sp, #48]"
#define KT_BACKWARD_PANEL "[sp, #52]"
#define KT_BACKWARD_PANEL_END "[sp, #56]" /* was quads */
#define KT_STREAM "[sp, #60]"
#define KT_STEPS "[sp, #64]" /* of stream and panel, in bytes */

/* code: bytes of a step. Four steps make a pass. */
#define KT_ENTER(code) \
    "push {r0-r3}\n\t" \
    "push {r4-r11, lr}\n\t" \
    "sub sp, #8\n\t" \
    "ldrd r0, r1, " KT_STEPS "\n\t" \
    "lsl r0, #2\n\t" \
    "lsl r1, #2\n\t" \
    "strd r0, r1, " KT_STEPS "\n\t" \
    "mla r2, r1, r3, r2\n\t" /* end of the panel */ \
    "str r2, " KT_BACKWARD_PANEL_END "\n\t" \
    "rsb r3, r3, #0\n\t" \
    "and r3, #3\n\t" /* steps left out of the first pass */ \
    "mov r0, #" code "\n\t" \
    "mul r3, r3, r0\n\t" \
    "str r3, " KT_SKIP "\n\t" \
    "2:\n\t"

/* pc reads as the address of label 1, two halfwords behind the addition. sums: a register list. */
#define KT_START(sums) \
    "ldr r0, " KT_SUMS "\n\t" \
    "ldm r0, {" sums "}\n\t" \
    "ldr lr, " KT_BACKWARD_PANEL "\n\t" \
    "ldr r12, " KT_STREAM "\n\t" \
    "ldr r3, " KT_SKIP "\n\t" \
    "add pc, r3\n\t" \
    "nop\n"

#define KT_NEXT_PASS "ldr r0, " KT_BACKWARD_PANEL_END "\n\t" "cmp lr, r0\n\t" "bne.w 1b\n\t"

#define KT_NEXT_QUAD "ldrd r0, r1, " KT_STEPS "\n\t" "add.w r12, r12, r0\n\t" "add.w lr, lr, r1\n\t"

/* Both values of the pair, one position: two products each, of the pair of gradients in g. */
#define KT_BOTH_VALUES(g, first, second) "smlad " first ", r1, " g ", " first "\n\t" "smlad " second ", r3, " g ", " second "\n\t"

/* One quad of channels, two values, four positions: 32 products in 37 instructions. */
#define KT_BACKWARD_STEPS \
    "1:\n\t" \
    ".irp j, 0, 1, 2, 3\n\t" \
    "ldrd r0, r1, [r12]\n\t" \
    "pkhtb r2, r1, r0, asr #16\n\t" /* second value: 256 B + A, 256 D + C */ \
    "pkhbt r0, r0, r1, lsl #16\n\t" /* first value */ \
    "sxtb16.w r1, r0\n\t"           /* A, C */ \
    "sxtb16.w r3, r2\n\t" \
    "ssub16 r0, r0, r1\n\t"         /* 256 B, 256 D */ \
    "ssub16 r2, r2, r3\n\t" \
    "orr.w r0, r0, r2, lsr #8\n\t"  /* bytes: B, D of the second value, and of the first */ \
    "ldr.w r2, [lr]\n\t" KT_BOTH_VALUES("r2", "r4", "r8") \
    "ldr.w r2, [lr, #8]\n\t" KT_BOTH_VALUES("r2", "r5", "r9") \
    "ldr.w r2, [lr, #16]\n\t" KT_BOTH_VALUES("r2", "r6", "r10") \
    "ldr.w r2, [lr, #24]\n\t" KT_BOTH_VALUES("r2", "r7", "r11") \
    "sxtb16.w r1, r0, ror #8\n\t" \
    "sxtb16.w r3, r0\n\t" \
    "ldr.w r0, [lr, #4]\n\t" /* two loads after each other take less time */ \
    "ldr.w r2, [lr, #12]\n\t" KT_BOTH_VALUES("r0", "r4", "r8") KT_BOTH_VALUES("r2", "r5", "r9") \
    "ldr.w r0, [lr, #20]\n\t" \
    "ldr.w r2, [lr, #28]\n\t" KT_BOTH_VALUES("r0", "r6", "r10") KT_BOTH_VALUES("r2", "r7", "r11") \
    KT_NEXT_QUAD \
    ".endr\n\t" \
    KT_NEXT_PASS

/* A pair of values in w0 and w1, r8 and r9 the gradients of one position. */
#define KT_ROW_PAIR(w0, w1, first, second) \
    "pkhtb r10, " w1 ", " w0 ", asr #16\n\t" \
    "pkhbt " w0 ", " w0 ", " w1 ", lsl #16\n\t" \
    "sxtb16.w " w1 ", " w0 "\n\t" \
    "ssub16 " w0 ", " w0 ", " w1 "\n\t" \
    "smlad " first ", " w1 ", r8, " first "\n\t" \
    "sxtb16.w " w1 ", r10\n\t" \
    "sxtb16.w " w0 ", " w0 ", ror #8\n\t" \
    "ssub16 r10, r10, " w1 "\n\t" \
    "smlad " second ", " w1 ", r8, " second "\n\t" \
    "sxtb16.w r10, r10, ror #8\n\t" \
    "smlad " first ", " w0 ", r9, " first "\n\t" \
    "smlad " second ", r10, r9, " second "\n\t"

/* One quad of channels, four values, one position: 16 products in 28 instructions. r11: the stream's step in bytes. */
#define KT_BACKWARD_ROW_STEPS \
    "1:\n\t" \
    ".irp j, 0, 1, 2, 3\n\t" \
    "ldrd r0, r1, [r12]\n\t" \
    "ldrd r2, r3, [r12, #8]\n\t" \
    "ldrd r8, r9, [lr], #8\n\t" \
    "add.w r12, r12, r11\n\t" \
    KT_ROW_PAIR("r0", "r1", "r4", "r6") KT_ROW_PAIR("r2", "r3", "r5", "r7") \
    ".endr\n\t" \
    KT_NEXT_PASS

/* The next values, `bytes` of the stream on, or return. */
#define KT_LEAVE(sums, bytes) \
    "ldr r0, " KT_SUMS "\n\t" \
    "stm r0!, {" sums "}\n\t" \
    "str r0, " KT_SUMS "\n\t" \
    "ldr r1, " KT_STREAM "\n\t" \
    "add r1, #" bytes "\n\t" \
    "str r1, " KT_STREAM "\n\t" \
    "ldr r3, " KT_END "\n\t" \
    "cmp r0, r3\n\t" \
    "bne.w 2b\n\t" \
    KT_RETURN("8")

#endif
