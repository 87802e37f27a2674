/* product.h: the products of ../product.h for cores with the DSP extension, as pieces of assembly.
 *
 * The loops need all 14 general registers; gcc spills accumulators when it is given the same flow of data in C. A function is naked:
 * it holds nothing but this text. Registers:
 *
 *     r4..r7    sums of the first position, channels a, b, c, d; while they grow b holds 256 B + A, d holds 256 D + C
 *     r8..r11   the same of the second position
 *     r12, lr   stream, panel
 *     r0..r3    words of both, and whatever else
 *
 * The loop over pairs is unrolled and entered in the middle, so that any number of them runs without a second loop. For that all of
 * its instructions are 32 bits wide. */
#ifndef KT_DSP_PRODUCT_H
#define KT_DSP_PRODUCT_H

#include "../product.h"
#include "text.h"

/* The first four arguments come in r0..r3: pushed, they stand before the others. Offsets of all from sp,
 * after two more words: bytes of the stream and of the code that the first pass leaves out. */
#define KT_SKIP "[sp]"
#define KT_RESULT "[sp, #44]"
#define KT_STRIDE "[sp, #48]"
#define KT_END "[sp, #52]"
#define KT_BIAS "[sp, #56]"
#define KT_PRODUCT_PANEL "[sp, #60]"
#define KT_PRODUCT_PANEL_END "[sp, #64]" /* was pairs */
#define KT_STREAM "[sp, #68]"

/* A step takes one pair of a panel, or two pairs of a row. last: steps in one pass of the loop, a power of two, less one; code: bytes
 * of its instructions; panel_shift, stream_shift: log2 of the bytes that it reads of each; count: from pairs to steps. */
#define KT_ENTER(last, code, panel_shift, stream_shift, count) \
    "push {r0-r3}\n\t" \
    "push {r4-r11, lr}\n\t" \
    "sub sp, #8\n\t" \
    "ldr r0, " KT_PRODUCT_PANEL_END "\n\t" /* pairs */ \
    count \
    "ldr r1, " KT_PRODUCT_PANEL "\n\t" \
    "add r2, r1, r0, lsl #" panel_shift "\n\t" /* end of the panel */ \
    "str r2, " KT_PRODUCT_PANEL_END "\n\t" \
    "rsb r3, r0, #0\n\t" \
    "and r3, #" last "\n\t"                    /* steps left out of the first pass */ \
    "sub r1, r1, r3, lsl #" panel_shift "\n\t" /* the panel as if they were there */ \
    "str r1, " KT_PRODUCT_PANEL "\n\t" \
    "lsl r2, r3, #" stream_shift "\n\t" \
    "mov r0, #" code "\n\t" \
    "mul r3, r3, r0\n\t" \
    "strd r2, r3, " KT_SKIP "\n\t" \
    "ldr r12, " KT_STREAM "\n\t"
#define KT_ENTER_PAIRS KT_ENTER("31", KT_PAIR_CODE, "3", "3", "") "2:\n\t"
#define KT_ENTER_EXACT KT_ENTER("15", KT_PAIR_CODE, "3", "3", "") KT_SUM_PANEL "2:\n\t"
#define KT_ENTER_EXACT_ALIKE KT_ENTER("15", KT_PAIR_CODE, "3", "3", "") KT_SUM_PANEL KT_FIRST_SUMS "2:\n\t"
#define KT_ENTER_ROW KT_ENTER("7", KT_ROW_CODE, "2", "4", "lsr r0, #1\n\t") "2:\n\t"
#define KT_ENTER_EXACT_ROW KT_ENTER("7", KT_ROW_CODE, "2", "4", "lsr r0, #1\n\t") KT_SUM_ROW "2:\n\t"

/* Bytes of a step's instructions, and of those that are left out with so many bytes of a stream of pairs. */
#if KT_LOADS_TWO_WORDS
#define KT_PAIR_CODE "48"
#define KT_CODE_OF(code, stream) "add " code ", " stream ", " stream ", lsl #1\n\t" "lsl " code ", #1\n\t"
#define KT_ROW_CODE "68"
#else
#define KT_PAIR_CODE "56"
#define KT_CODE_OF(code, stream) "rsb " code ", " stream ", " stream ", lsl #3\n\t"
#define KT_ROW_CODE "76"
#endif

/* 128 times the sum of the panel's values, of both positions: the second lies where the stream was. Stands behind KT_ENTER, which leaves the
 * panel in r1 + r2. */
#define KT_FIRST_OFFSET "[sp, #4]"
#define KT_SECOND_OFFSET KT_STREAM
#define KT_SUM_PANEL \
    "add lr, r1, r2\n\t" \
    "ldr r3, " KT_PRODUCT_PANEL_END "\n\t" \
    "mov r4, #0x00010001\n\t" \
    "mov r5, #0\n\t" "mov r6, #0\n\t" \
    "sub r0, r3, lr\n\t" \
    "tst r0, #8\n\t" \
    "beq 6f\n\t" \
    "ldm lr!, {r7, r8}\n\t" "smlad r5, r7, r4, r5\n\t" "smlad r6, r8, r4, r6\n\t" \
    "6:\n\t" \
    "cmp lr, r3\n\t" \
    "beq 8f\n\t" \
    "7:\n\t" /* two pairs */ \
    "ldm lr!, {r7-r10}\n\t" \
    "smlad r5, r7, r4, r5\n\t" "smlad r6, r8, r4, r6\n\t" "smlad r5, r9, r4, r5\n\t" "smlad r6, r10, r4, r6\n\t" \
    "cmp lr, r3\n\t" \
    "bne 7b\n\t" \
    "8:\n\t" \
    "lsl r5, #7\n\t" "lsl r6, #7\n\t" \
    "str r5, " KT_FIRST_OFFSET "\n\t" \
    "str r6, " KT_SECOND_OFFSET "\n\t"

/* The same of a row, at least four values, where the stream was. */
#define KT_SUM_ROW \
    "add lr, r1, r2, lsr #2\n\t" /* a row has a quarter of its stream's bytes */ \
    "ldr r3, " KT_PRODUCT_PANEL_END "\n\t" \
    "mov r4, #0x00010001\n\t" \
    "mov r5, #0\n\t" \
    "6:\n\t" \
    "ldr r7, [lr], #4\n\t" \
    "sxtb16 r8, r7\n\t" \
    "sxtb16 r7, r7, ror #8\n\t" \
    "smlad r5, r8, r4, r5\n\t" "smlad r5, r7, r4, r5\n\t" \
    "cmp lr, r3\n\t" \
    "bne 6b\n\t" \
    "lsl r5, #7\n\t" \
    "str r5, " KT_SECOND_OFFSET "\n\t"

/* Sums start from the bias. The stream steps back by what is left out, and so does the code forwards: pc reads as the address of
 * label 1, two halfwords behind the addition. */
#define KT_START_SUMS \
    "ldr r0, " KT_BIAS "\n\t" \
    "ldm r0!, {r4-r7}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldrd r2, r3, " KT_SKIP "\n\t"
/* Of exact words from one value for all channels: 256 B + A of both positions, less their offsets, stand where these did. */
#define KT_FIRST_SUMS \
    "ldr r0, " KT_BIAS "\n\t" "ldr r0, [r0]\n\t" "add r0, r0, r0, lsl #8\n\t" \
    "sub r5, r0, r5\n\t" "sub r6, r0, r6\n\t" \
    "str r5, " KT_FIRST_OFFSET "\n\t" \
    "str r6, " KT_SECOND_OFFSET "\n\t"
#define KT_START_EXACT_ALIKE \
    "ldr r0, " KT_BIAS "\n\t" "ldr r5, [r0]\n\t" \
    "ldr r4, " KT_FIRST_OFFSET "\n\t" \
    "ldr r8, " KT_SECOND_OFFSET "\n\t" \
    "ldr lr, " KT_PRODUCT_PANEL "\n\t" \
    "ldr r2, " KT_SKIP "\n\t" \
    "mov r6, r4\n\t" "mov r10, r8\n\t" "mov r7, r5\n\t" "mov r9, r5\n\t" "mov r11, r5\n\t" \
    KT_CODE_OF("r3", "r2")
#define KT_PAIR_SUMS "add r5, r4, r5, lsl #8\n\t" "add r7, r6, r7, lsl #8\n\t"
#define KT_BOTH_POSITIONS "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
#define KT_JUMP "sub r12, r2\n\t" "add pc, r3\n\t" "nop\n"
/* Of exact words: 256 B + A, and B. The code's bytes follow from the stream's. */
#define KT_EXACT_SUMS \
    "ldr r0, " KT_FIRST_OFFSET "\n\t" \
    "ldr r1, " KT_SECOND_OFFSET "\n\t" \
    "add r4, r4, r5, lsl #8\n\t" "add r6, r6, r7, lsl #8\n\t" \
    "mov r9, r5\n\t" "mov r11, r7\n\t" \
    "sub r8, r4, r1\n\t" "sub r10, r6, r1\n\t" "sub r4, r0\n\t" "sub r6, r0\n\t" \
    KT_CODE_OF("r3", "r2")

#define KT_EXACT_ROW_SUMS \
    "ldr r0, " KT_SECOND_OFFSET "\n\t" \
    "add r4, r4, r5, lsl #8\n\t" "add r6, r6, r7, lsl #8\n\t" "sub r4, r0\n\t" "sub r6, r0\n\t"

/* The next pass, until the panel ends. stream_bytes, panel_bytes: what a pass reads of them. */
#define KT_NEXT_PASS(stream_bytes, panel_bytes) \
    "ldr r0, " KT_PRODUCT_PANEL_END "\n\t" \
    "add r12, #" stream_bytes "\n\t" \
    "add lr, #" panel_bytes "\n\t" \
    "cmp lr, r0\n\t" \
    "bne 1b\n\t"

/* One pair, two positions, four channels: 16 products in 14 instructions, or 12. Whole words add to the sums of both channels, their bytes to
 * those of one: both of channels a, b, c, d, of the first position and of the second. */
#define KT_STEP(whole_ab, whole_ab2, whole_cd, whole_cd2, b_or_a, b_or_a2, d_or_c, d_or_c2, rotation) \
    KT_TWO_WORDS("r0", "r1", "r12", "8 * \\j") \
    KT_TWO_WORDS("r2", "r3", "lr", "8 * \\j") \
    "smlad " whole_ab ", r0, r2, " whole_ab "\n\t" \
    "smlad " whole_ab2 ", r0, r3, " whole_ab2 "\n\t" \
    "smlad " whole_cd ", r1, r2, " whole_cd "\n\t" \
    "smlad " whole_cd2 ", r1, r3, " whole_cd2 "\n\t" \
    "sxtb16.w r0, r0" rotation "\n\t" \
    "sxtb16.w r1, r1" rotation "\n\t" \
    "smlad " b_or_a ", r0, r2, " b_or_a "\n\t" \
    "smlad " b_or_a2 ", r0, r3, " b_or_a2 "\n\t" \
    "smlad " d_or_c ", r1, r2, " d_or_c "\n\t" \
    "smlad " d_or_c2 ", r1, r3, " d_or_c2 "\n\t"

#define KT_PAIR_STEPS \
    "1:\n\t" \
    ".irp j, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t" \
    KT_STEP("r5", "r9", "r7", "r11", "r4", "r8", "r6", "r10", "") \
    ".endr\n\t" \
    KT_NEXT_PASS("256", "256")

#define KT_EXACT_STEPS \
    "1:\n\t" \
    ".irp j, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t" \
    KT_STEP("r4", "r8", "r6", "r10", "r5", "r9", "r7", "r11", ", ror #8") \
    ".endr\n\t" \
    KT_NEXT_PASS("128", "128") \
    "sub r4, r4, r5, lsl #8\n\t" "sub r6, r6, r7, lsl #8\n\t" \
    "sub r8, r8, r9, lsl #8\n\t" "sub r10, r10, r11, lsl #8\n\t"

/* Four values as they lie, one position: 16 products. Word j of x gives the pairs (0, 2) and (1, 3). Registers and rotation: as of KT_STEP. */
#define KT_ROW_STEPS_OF(whole_ab, whole_cd, b_or_a, d_or_c, rotation) \
    "1:\n\t" \
    ".irp j, 0, 1, 2, 3, 4, 5, 6, 7\n\t" \
    "ldr.w r2, [lr, #4 * \\j]\n\t" \
    KT_TWO_WORDS("r0", "r1", "r12", "16 * \\j") \
    KT_TWO_WORDS("r8", "r9", "r12", "16 * \\j + 8") \
    "sxtb16.w r3, r2, ror #8\n\t" \
    "sxtb16.w r2, r2\n\t" \
    "smlad " whole_ab ", r0, r2, " whole_ab "\n\t" \
    "smlad " whole_cd ", r1, r2, " whole_cd "\n\t" \
    "sxtb16.w r0, r0" rotation "\n\t" \
    "sxtb16.w r1, r1" rotation "\n\t" \
    "smlad " b_or_a ", r0, r2, " b_or_a "\n\t" \
    "smlad " d_or_c ", r1, r2, " d_or_c "\n\t" \
    "smlad " whole_ab ", r8, r3, " whole_ab "\n\t" \
    "smlad " whole_cd ", r9, r3, " whole_cd "\n\t" \
    "sxtb16.w r8, r8" rotation "\n\t" \
    "sxtb16.w r9, r9" rotation "\n\t" \
    "smlad " b_or_a ", r8, r3, " b_or_a "\n\t" \
    "smlad " d_or_c ", r9, r3, " d_or_c "\n\t" \
    ".endr\n\t" \
    KT_NEXT_PASS("128", "32")
#define KT_ROW_STEPS KT_ROW_STEPS_OF("r5", "r7", "r4", "r6", "")
#define KT_EXACT_ROW_STEPS \
    KT_ROW_STEPS_OF("r4", "r6", "r5", "r7", ", ror #8") \
    "sub r4, r4, r5, lsl #8\n\t" "sub r6, r6, r7, lsl #8\n\t"
#define KT_SCALE_EXACT_ROW "lsl r4, #8\n\t" "lsl r5, #8\n\t" "lsl r6, #8\n\t" "lsl r7, #8\n\t"

/* 256 * sum of all eight: the epilogue wants them so. */
#define KT_SCALED_SUMS \
    "sub r5, r4\n\t" "sub r9, r8\n\t" "sub r7, r6\n\t" "sub r11, r10\n\t" \
    "lsl r4, #8\n\t" "lsl r8, #8\n\t" "lsl r6, #8\n\t" "lsl r10, #8\n\t"
#define KT_SCALE_EXACT \
    "lsl r4, #8\n\t" "lsl r5, #8\n\t" "lsl r6, #8\n\t" "lsl r7, #8\n\t" "lsl r8, #8\n\t" "lsl r9, #8\n\t" "lsl r10, #8\n\t" "lsl r11, #8\n\t"
#define KT_SCALED_ROW_SUMS "sub r5, r4\n\t" "sub r7, r6\n\t" "lsl r4, #8\n\t" "lsl r6, #8\n\t"
#define KT_PLAIN_ROW_SUMS "sub r5, r4\n\t" "sub r7, r6\n\t" "asr r5, #8\n\t" "asr r7, #8\n\t"
#define KT_PLAIN_SUMS_OF_PAIRED \
    "sub r5, r4\n\t" "sub r9, r8\n\t" "sub r7, r6\n\t" "sub r11, r10\n\t" \
    "asr r5, #8\n\t" "asr r9, #8\n\t" "asr r7, #8\n\t" "asr r11, #8\n\t"

/* Requantise the sums a, b of one channel: r0, r2, r3 are multiplier, addend, shift. */
#define KT_HALF_UP(a, b) \
    "ldm r12!, {r0, r2, r3}\n\t" \
    "smmla " a ", " a ", r0, r2\n\t" "smmla " b ", " b ", r0, r2\n\t" \
    "asr " a ", r3\n\t"              "asr " b ", r3\n\t" \
    "ssat " a ", #8, " a "\n\t"      "ssat " b ", #8, " b "\n\t"
/* lr is free by now: 128 less where the sum is negative. */
#define KT_AWAY(a, b) \
    "ldm r12!, {r0, r2, r3}\n\t" \
    "asr r1, " a ", #31\n\t"         "asr lr, " b ", #31\n\t" \
    "smmla " a ", " a ", r0, r2\n\t" "smmla " b ", " b ", r0, r2\n\t" \
    "add " a ", " a ", r1, lsl #7\n\t" "add " b ", " b ", lr, lsl #7\n\t" \
    "asr " a ", r3\n\t"              "asr " b ", r3\n\t" \
    "ssat " a ", #8, " a "\n\t"      "ssat " b ", #8, " b "\n\t"
/* int8 results of sums that started from half a unit, r0 the shift: four of a position in one register, where -128 becomes -127. */
#define KT_SHIFTED(sum) "asr " sum ", r0\n\t" "ssat " sum ", #8, " sum "\n\t"
#define KT_FOUR_BYTES(a, b, c, d) \
    "bfi " a ", " b ", #8, #8\n\t" "bfi " a ", " c ", #16, #8\n\t" "bfi " a ", " d ", #24, #8\n\t" \
    "qsub8 " a ", " a ", r1\n\t" "sadd8 " a ", " a ", r1\n\t" /* one less and one more, of which the first saturates */
#define KT_LIMITED_SUMS "ldr r0, " KT_BIAS "\n\t" "ldr r0, [r0, #4]\n\t" KT_LIMIT_SUMS
#define KT_LIMIT_SUMS \
    "mov r1, #0x01010101\n\t" \
    KT_SHIFTED("r4") KT_SHIFTED("r5") KT_SHIFTED("r6") KT_SHIFTED("r7") \
    KT_SHIFTED("r8") KT_SHIFTED("r9") KT_SHIFTED("r10") KT_SHIFTED("r11") \
    KT_FOUR_BYTES("r4", "r5", "r6", "r7") KT_FOUR_BYTES("r8", "r9", "r10", "r11")
#define KT_HALF_UP_ROW(a) \
    "ldm r12!, {r0, r2, r3}\n\t" "smmla " a ", " a ", r0, r2\n\t" "asr " a ", r3\n\t" "ssat " a ", #8, " a "\n\t"
#define KT_AWAY_ROW(a) \
    "ldm r12!, {r0, r2, r3}\n\t" "asr r1, " a ", #31\n\t" "smmla " a ", " a ", r0, r2\n\t" \
    "add " a ", " a ", r1, lsl #7\n\t" "asr " a ", r3\n\t" "ssat " a ", #8, " a "\n\t"

#define KT_STORE_BYTES \
    "ldr r0, " KT_RESULT "\n\t" \
    "ldr r1, " KT_STRIDE "\n\t" \
    "add r1, r0\n\t" \
    "strb r8, [r1]\n\t" "strb r9, [r1, #1]\n\t" "strb r10, [r1, #2]\n\t" "strb r11, [r1, #3]\n\t" \
    "strb r4, [r0]\n\t" "strb r5, [r0, #1]\n\t" "strb r6, [r0, #2]\n\t" "strb r7, [r0, #3]\n\t" \
    "adds r0, #4\n\t"
#define KT_STORE_FOURS \
    "ldr r0, " KT_RESULT "\n\t" \
    "ldr r1, " KT_STRIDE "\n\t" \
    "str r8, [r0, r1]\n\t" \
    "str r4, [r0], #4\n\t"
#define KT_STORE_ROW \
    "ldr r0, " KT_RESULT "\n\t" \
    "strb r4, [r0]\n\t" "strb r5, [r0, #1]\n\t" "strb r6, [r0, #2]\n\t" "strb r7, [r0, #3]\n\t" \
    "adds r0, #4\n\t"
#define KT_STORE_WORDS \
    "ldr r0, " KT_RESULT "\n\t" \
    "ldr r1, " KT_STRIDE "\n\t" \
    "add r1, r0\n\t" \
    "stm r1, {r8-r11}\n\t" \
    "stm r0!, {r4-r7}\n\t"

/* The next four channels, or return. */
#define KT_LEAVE \
    "str r0, " KT_RESULT "\n\t" \
    "ldr r3, " KT_END "\n\t" \
    "cmp r0, r3\n\t" \
    "bne.w 2b\n\t" \
    KT_RETURN("8")

/* Two positions in both ways to round, as ../in_c.h has them: what makes the sums, and what stands between the results and their store. */
#define KT_ROUNDED(name, sums, rounding, behind) \
    KT_NAKED void name(KT_PRODUCT_ARGUMENTS) \
    { \
        __asm__ volatile(sums rounding("r4", "r8") rounding("r5", "r9") rounding("r6", "r10") rounding("r7", "r11") behind KT_STORE_BYTES KT_LEAVE); \
    }
#define KT_IN_BOTH_ROUNDINGS(name, sums, behind) KT_ROUNDED(name##_half_up, sums, KT_HALF_UP, behind) KT_ROUNDED(name##_away, sums, KT_AWAY, behind)

/* The same of one row. */
#define KT_ROUNDED_ROW(name, sums, rounding, behind) \
    KT_NAKED void name(KT_PRODUCT_ARGUMENTS) \
    { \
        __asm__ volatile(sums rounding("r4") rounding("r5") rounding("r6") rounding("r7") behind KT_STORE_ROW KT_LEAVE); \
    }
#define KT_ROW_IN_BOTH_ROUNDINGS(name, sums, behind) \
    KT_ROUNDED_ROW(name##_half_up, sums, KT_HALF_UP_ROW, behind) KT_ROUNDED_ROW(name##_away, sums, KT_AWAY_ROW, behind)

/* From entering to the sums of all channels, of either kind of words. */
#define KT_PAIRED_SUMS KT_ENTER_PAIRS KT_START_SUMS KT_PAIR_SUMS KT_BOTH_POSITIONS KT_JUMP KT_PAIR_STEPS KT_SCALED_SUMS
#define KT_SUMS_OF_EXACT KT_ENTER_EXACT KT_START_SUMS KT_EXACT_SUMS KT_JUMP KT_EXACT_STEPS KT_SCALE_EXACT
#define KT_PAIRED_ROW KT_ENTER_ROW KT_START_SUMS KT_PAIR_SUMS KT_JUMP KT_ROW_STEPS KT_SCALED_ROW_SUMS
#define KT_ROW_OF_EXACT KT_ENTER_EXACT_ROW KT_START_SUMS KT_EXACT_ROW_SUMS KT_JUMP KT_EXACT_ROW_STEPS KT_SCALE_EXACT_ROW

#endif
