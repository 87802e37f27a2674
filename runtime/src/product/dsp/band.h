/* band.h: the bands of ../band.h for cores with the DSP extension, as pieces of assembly. A function is naked. Registers:
 *
 *     r0..r3    sums of two rows of two results: a b above c d
 *     r4..r9    weights: pairs u (w0, w1) and v (w1, w2) of three kernel rows
 *     r10..r12  words, and whatever else
 *     lr        column pair of the buffer */
#ifndef KT_DSP_BAND_H
#define KT_DSP_BAND_H

#include "../band.h"
#include "text.h"

/* Offsets from sp: variables, a copy of the band, and the first four arguments behind the saved registers. */
#define KT_MULTIPLIER "[sp]" /* and behind it addend, shift and bias */
#define KT_SHIFT "[sp, #8]"
#define KT_BIAS "[sp, #12]"
#define KT_AT "[sp, #16]" /* and behind it the column pairs that are left */
#define KT_CHANNELS_LEFT "[sp, #24]"
#define KT_STEP_X "[sp, #28]" /* and behind it the step to the second row */
#define KT_TOP_STEP "[sp, #32]"
#define KT_BOTTOM "[sp, #36]" /* and behind it the step to the fourth row */
#define KT_BOTTOM_STEP "[sp, #40]"
#define KT_PAIRS "[sp, #44]" /* their number, less than 0 where the band is a single row */
#define KT_ODD "[sp, #48]"
#define KT_Y "[sp, #88]" /* and behind it the columns */
#define KT_STREAM "[sp, #96]" /* and behind it the biases */
#define KT_BIASES "[sp, #100]"

#define KT_ENTER_BAND \
    "push {r0-r3}\n\t" \
    "push {r4-r11, lr}\n\t" \
    "ldr r4, [sp, #52]\n\t" /* band, the fifth argument */ \
    "ldm r4, {r5-r10}\n\t" \
    "cmp r6, #0\n\t" /* no second row */ \
    "it eq\n\t" "rsbeq r9, #0\n\t" \
    "push {r5-r10}\n\t" \
    "sub sp, #28\n\t" \
    "mov r0, #4\n\t" \
    "str r0, " KT_CHANNELS_LEFT "\n\t"

/* Results and columns of the next channel. */
#define KT_OPEN_CHANNEL \
    "ldrd r3, lr, " KT_Y "\n\t" \
    "ldr r0, " KT_PAIRS "\n\t" \
    "strd r3, r0, " KT_AT "\n\t" \
    "add r3, #1\n\t" \
    "add r1, lr, #4\n\t" \
    "strd r3, r1, " KT_Y "\n\t" \
    "cmp r0, #0\n\t" \
    "ble.w 6f\n\t" \
    "1:\n\t"

/* The next channel: its weights, requantisation and bias; its results and columns. */
#define KT_NEXT_CHANNEL \
    "5:\n\t" \
    "ldrd r12, r11, " KT_STREAM "\n\t" \
    "ldm r12!, {r4, r6, r8}\n\t" \
    "ldm r12!, {r0, r1, r2}\n\t" \
    "ldr r3, [r11], #4\n\t" \
    "strd r12, r11, " KT_STREAM "\n\t" \
    "lsl r3, #8\n\t" \
    "stm sp, {r0-r3}\n\t" \
    "mov r3, #0xFF00FF00\n\t" \
    "and r5, r3, r4, lsl #8\n\t" "and r4, r3\n\t" \
    "and r7, r3, r6, lsl #8\n\t" "and r6, r3\n\t" \
    "and r9, r3, r8, lsl #8\n\t" "and r8, r3\n\t" \
    KT_OPEN_CHANNEL

/* The same of a gradient: its pairs are (w2, w1) and (w1, w0) of the kernel rows from the last one on, as they are; one shift, sums that start
 * from half a unit. */
#define KT_NEXT_GRADIENT_CHANNEL \
    "5:\n\t" \
    "ldr r12, " KT_STREAM "\n\t" \
    "ldm r12, {r0-r2}\n\t" \
    "add r12, #24\n\t" \
    "str r12, " KT_STREAM "\n\t" \
    "sxtb16 r4, r2, ror #16\n\t"  "sxtb16 r5, r2, ror #24\n\t" \
    "sxtb16 r6, r1, ror #16\n\t"  "sxtb16 r7, r1, ror #24\n\t" \
    "sxtb16 r8, r0, ror #16\n\t"  "sxtb16 r9, r0, ror #24\n\t" \
    "ldr r12, " KT_BIASES "\n\t" \
    "ldm r12, {r0, r1}\n\t" \
    "str r0, " KT_BIAS "\n\t" \
    "str r1, " KT_SHIFT "\n\t" \
    KT_OPEN_CHANNEL

/* One kernel row of two results a, b; first: what a and b start from. e, f: two column pairs. */
#define KT_ROW(a, b, from_a, from_b, u, v) \
    "smlad " a ", r10, " u ", " from_a "\n\t"  "smlatb " b ", r10, " u ", " from_b "\n\t" \
    "smlabt " a ", r11, " v ", " a "\n\t"      "smlad " b ", r11, " v ", " b "\n\t"
#define KT_ROW_STRIDED(a, b, from_a, from_b, u, v) \
    "smlad " a ", r10, " u ", " from_a "\n\t"  "smlad " b ", r11, " u ", " from_b "\n\t" \
    "smlabt " a ", r11, " v ", " a "\n\t"      "smlabt " b ", r12, " v ", " b "\n\t"

/* Words of a row of neighbouring column pairs, which lie 96 bytes apart, strided 80: six or five rows of four channels. */
#define KT_WORDS(row) "ldr r10, [lr, #16 * (" row ")]\n\t" "ldr r11, [lr, #96 + 16 * (" row ")]\n\t"
#define KT_TWO_WORDS_STRIDED(row) "ldr r10, [lr, #16 * (" row ")]\n\t" "ldr r11, [lr, #80 + 16 * (" row ")]\n\t"
#define KT_WORDS_STRIDED(row) KT_TWO_WORDS_STRIDED(row) "ldr r12, [lr, #160 + 16 * (" row ")]\n\t"

/* 2 x 2 results over four input rows, `first` of the buffer and those below it. */
#define KT_TILE(first) \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS(first) KT_ROW("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS(first " + 1") KT_ROW("r0", "r1", "r0", "r1", "r6", "r7") KT_ROW("r2", "r3", "r3", "r3", "r4", "r5") \
    KT_WORDS(first " + 2") KT_ROW("r0", "r1", "r0", "r1", "r8", "r9") KT_ROW("r2", "r3", "r2", "r3", "r6", "r7") \
    KT_WORDS(first " + 3") KT_ROW("r2", "r3", "r2", "r3", "r8", "r9")

/* The same over five input rows and five columns. */
#define KT_TILE_STRIDED \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS_STRIDED("0") KT_ROW_STRIDED("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS_STRIDED("1") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r6", "r7") \
    KT_WORDS_STRIDED("2") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r8", "r9") \
    KT_ROW_STRIDED("r2", "r3", "r3", "r3", "r4", "r5") \
    KT_WORDS_STRIDED("3") KT_ROW_STRIDED("r2", "r3", "r2", "r3", "r6", "r7") \
    KT_WORDS_STRIDED("4") KT_ROW_STRIDED("r2", "r3", "r2", "r3", "r8", "r9")

#define KT_SATURATED \
    "asr r0, r12\n\t"      "asr r1, r12\n\t"      "asr r2, r12\n\t"      "asr r3, r12\n\t" \
    "ssat r0, #8, r0\n\t"  "ssat r1, #8, r1\n\t"  "ssat r2, #8, r2\n\t"  "ssat r3, #8, r3\n\t"
#define KT_BAND_HALF_UP \
    "ldm sp, {r10-r12}\n\t" \
    "smmla r0, r0, r10, r11\n\t"  "smmla r1, r1, r10, r11\n\t" \
    "smmla r2, r2, r10, r11\n\t"  "smmla r3, r3, r10, r11\n\t" \
    KT_SATURATED
#define KT_AWAY_ONE(a) "asr r12, " a ", #31\n\t" "smmla " a ", " a ", r10, r11\n\t" "add " a ", " a ", r12, lsl #7\n\t"
#define KT_BAND_AWAY \
    "ldrd r10, r11, " KT_MULTIPLIER "\n\t" \
    KT_AWAY_ONE("r0") KT_AWAY_ONE("r1") KT_AWAY_ONE("r2") KT_AWAY_ONE("r3") \
    "ldr r12, " KT_SHIFT "\n\t" \
    KT_SATURATED

/* r12 is the shift, r10 is 1. */
#define KT_LIMITING "ldr r12, " KT_SHIFT "\n\t" "mov r10, #1\n\t"
#define KT_BAND_LIMITED \
    KT_LIMITING \
    KT_LIMITED("r0", "r12", "r10") KT_LIMITED("r1", "r12", "r10") KT_LIMITED("r2", "r12", "r10") KT_LIMITED("r3", "r12", "r10")
#define KT_NARROW_LIMITED KT_LIMITING KT_LIMITED("r0", "r12", "r10") KT_LIMITED("r2", "r12", "r10")

/* The second row first: where it does not exist its step is 0, and what is stored there is overwritten. r10: the first result, r11: step to
 * the next column, r12: step to the next row. */
#define KT_STORE_TILE \
    "add r12, r10\n\t" \
    "strb r3, [r12, r11]\n\t"  "strb r2, [r12]\n\t" \
    "strb r1, [r10, r11]\n\t"  "strb r0, [r10]\n\t"
#define KT_STORE_TOP "ldr r10, " KT_AT "\n\t" "ldrd r11, r12, " KT_STEP_X "\n\t" KT_STORE_TILE
#define KT_STORE_BOTTOM \
    "ldr r10, " KT_AT "\n\t" "ldrd r11, r12, " KT_BOTTOM "\n\t" "add r10, r11\n\t" "ldr r11, " KT_STEP_X "\n\t" KT_STORE_TILE
#define KT_SKIP_BOTTOM "ldr r12, " KT_BOTTOM "\n\t" "cmp r12, #0\n\t" "beq.w 2f\n\t"

/* A last column alone: two rows of a band that has no more, results in r0 and r2. Windows of both strides read the same two column pairs. */
#define KT_NARROW_ROW(a, from, u, v) "smlad " a ", r10, " u ", " from "\n\t" "smlabt " a ", r11, " v ", " a "\n\t"
#define KT_NARROW_TILE \
    "ldr r2, " KT_BIAS "\n\t" \
    KT_WORDS("0") KT_NARROW_ROW("r0", "r2", "r4", "r5") \
    KT_WORDS("1") KT_NARROW_ROW("r0", "r0", "r6", "r7") KT_NARROW_ROW("r2", "r2", "r4", "r5") \
    KT_WORDS("2") KT_NARROW_ROW("r0", "r0", "r8", "r9") KT_NARROW_ROW("r2", "r2", "r6", "r7") \
    KT_WORDS("3") KT_NARROW_ROW("r2", "r2", "r8", "r9")
/* The same of four rows, results in r0 to r3. */
#define KT_NARROW_FOUR \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS("0") KT_NARROW_ROW("r0", "r3", "r4", "r5") \
    KT_WORDS("1") KT_NARROW_ROW("r0", "r0", "r6", "r7") KT_NARROW_ROW("r1", "r3", "r4", "r5") \
    KT_WORDS("2") KT_NARROW_ROW("r0", "r0", "r8", "r9") KT_NARROW_ROW("r1", "r1", "r6", "r7") KT_NARROW_ROW("r2", "r3", "r4", "r5") \
    KT_WORDS("3") KT_NARROW_ROW("r1", "r1", "r8", "r9") KT_NARROW_ROW("r2", "r2", "r6", "r7") KT_NARROW_ROW("r3", "r3", "r4", "r5") \
    KT_WORDS("4") KT_NARROW_ROW("r2", "r2", "r8", "r9") KT_NARROW_ROW("r3", "r3", "r6", "r7") \
    KT_WORDS("5") KT_NARROW_ROW("r3", "r3", "r8", "r9")
#define KT_NARROW_TILE_STRIDED \
    "ldr r2, " KT_BIAS "\n\t" \
    KT_TWO_WORDS_STRIDED("0") KT_NARROW_ROW("r0", "r2", "r4", "r5") \
    KT_TWO_WORDS_STRIDED("1") KT_NARROW_ROW("r0", "r0", "r6", "r7") \
    KT_TWO_WORDS_STRIDED("2") KT_NARROW_ROW("r0", "r0", "r8", "r9") KT_NARROW_ROW("r2", "r2", "r4", "r5") \
    KT_TWO_WORDS_STRIDED("3") KT_NARROW_ROW("r2", "r2", "r6", "r7") \
    KT_TWO_WORDS_STRIDED("4") KT_NARROW_ROW("r2", "r2", "r8", "r9")
#define KT_NARROW_SATURATED \
    "asr r0, r12\n\t"      "asr r2, r12\n\t" \
    "ssat r0, #8, r0\n\t"  "ssat r2, #8, r2\n\t"
#define KT_NARROW_HALF_UP \
    "ldm sp, {r10-r12}\n\t" \
    "smmla r0, r0, r10, r11\n\t"  "smmla r2, r2, r10, r11\n\t" KT_NARROW_SATURATED
#define KT_NARROW_AWAY \
    "ldrd r10, r11, " KT_MULTIPLIER "\n\t" KT_AWAY_ONE("r0") KT_AWAY_ONE("r2") "ldr r12, " KT_SHIFT "\n\t" KT_NARROW_SATURATED
#define KT_STORE_NARROW "ldr r10, " KT_AT "\n\t" "ldr r12, " KT_TOP_STEP "\n\t" "strb r2, [r10, r12]\n\t" "strb r0, [r10]\n\t"
#define KT_STORE_NARROW_FOUR \
    "ldr r10, " KT_AT "\n\t" \
    "ldrd r11, r12, " KT_BOTTOM "\n\t" \
    "add r11, r10\n\t" \
    "strb r3, [r11, r12]\n\t"  "strb r2, [r11]\n\t" \
    "ldr r12, " KT_TOP_STEP "\n\t" \
    "strb r1, [r10, r12]\n\t"  "strb r0, [r10]\n\t"

/* A last column of four rows, unless the band has no third one; `results`: from sums to results. */
#define KT_LAST_COLUMN(results) \
    "ldr r12, " KT_BOTTOM "\n\t" \
    "cmp r12, #0\n\t" \
    "beq.w 8f\n\t" \
    KT_NARROW_FOUR results KT_STORE_NARROW_FOUR \
    "b.w 4f\n\t" \
    "8:\n\t"

/* The next two columns; then the last one, where it stands alone. */
#define KT_NEXT_COLUMNS(advance) \
    "2:\n\t" \
    "ldrd r10, r12, " KT_AT "\n\t" \
    "ldr r11, " KT_STEP_X "\n\t" \
    "add lr, #" advance "\n\t" \
    "add r10, r10, r11, lsl #1\n\t" \
    "subs r12, #1\n\t" \
    "strd r10, r12, " KT_AT "\n\t" \
    "bne.w 1b\n\t" \
    "3:\n\t" \
    "ldr r0, " KT_ODD "\n\t" \
    "cmp r0, #0\n\t" \
    "beq.w 4f\n\t"

/* Two results of a band that is a single row, in r0 and r1. */
#define KT_SINGLE_ROW \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS("0") KT_ROW("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS("1") KT_ROW("r0", "r1", "r0", "r1", "r6", "r7") \
    KT_WORDS("2") KT_ROW("r0", "r1", "r0", "r1", "r8", "r9")
#define KT_SINGLE_ROW_STRIDED \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS_STRIDED("0") KT_ROW_STRIDED("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS_STRIDED("1") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r6", "r7") \
    KT_WORDS_STRIDED("2") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r8", "r9")
#define KT_SINGLE_SATURATED \
    "asr r0, r12\n\t"      "asr r1, r12\n\t" \
    "ssat r0, #8, r0\n\t"  "ssat r1, #8, r1\n\t"
#define KT_SINGLE_HALF_UP "ldm sp, {r10-r12}\n\t" "smmla r0, r0, r10, r11\n\t"  "smmla r1, r1, r10, r11\n\t" KT_SINGLE_SATURATED
#define KT_SINGLE_AWAY \
    "ldrd r10, r11, " KT_MULTIPLIER "\n\t" KT_AWAY_ONE("r0") KT_AWAY_ONE("r1") "ldr r12, " KT_SHIFT "\n\t" KT_SINGLE_SATURATED
#define KT_SINGLE_LIMITED KT_LIMITING KT_LIMITED("r0", "r12", "r10") KT_LIMITED("r1", "r12", "r10")

/* All pairs of columns of a band that is a single row; from where no pair is left, too. `sums` ends with the results in r0 and r1. */
#define KT_SINGLE_ROWS(sums, advance) \
    "6:\n\t" \
    "beq.w 3b\n\t" \
    "7:\n\t" \
    sums \
    "ldrd r10, r12, " KT_AT "\n\t" \
    "ldr r11, " KT_STEP_X "\n\t" \
    "add lr, #" advance "\n\t" \
    "strb r1, [r10, r11]\n\t" \
    "strb r0, [r10]\n\t" \
    "add r10, r10, r11, lsl #1\n\t" \
    "adds r12, #1\n\t" \
    "strd r10, r12, " KT_AT "\n\t" \
    "bne.w 7b\n\t" \
    "b.w 3b\n\t"

/* The next channel, or return. */
#define KT_LEAVE_BAND \
    "4:\n\t" \
    "ldr r0, " KT_CHANNELS_LEFT "\n\t" \
    "subs r0, #1\n\t" \
    "str r0, " KT_CHANNELS_LEFT "\n\t" \
    "bne.w 5b\n\t" \
    KT_RETURN("52")

#endif
