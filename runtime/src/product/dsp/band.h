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
#define KT_BIAS "[sp]"
#define KT_MULTIPLIER "[sp, #4]" /* and the addend behind it */
#define KT_SHIFT "[sp, #12]"
#define KT_AT "[sp, #16]"
#define KT_LEFT "[sp, #20]"
#define KT_CHANNELS_LEFT "[sp, #24]"
#define KT_STEP_X "[sp, #28]"
#define KT_TOP_STEP "[sp, #32]"
#define KT_BOTTOM "[sp, #36]"
#define KT_BOTTOM_STEP "[sp, #40]"
#define KT_PAIRS "[sp, #44]"
#define KT_ODD "[sp, #48]"
#define KT_Y "[sp, #88]"
#define KT_COLUMNS "[sp, #92]"
#define KT_STREAM "[sp, #96]"
#define KT_BIASES "[sp, #100]"

#define KT_ENTER_BAND \
    "push {r0-r3}\n\t" \
    "push {r4-r11, lr}\n\t" \
    "ldr r4, [sp, #52]\n\t" /* band, the fifth argument */ \
    "ldm r4, {r5-r10}\n\t" \
    "push {r5-r10}\n\t" \
    "sub sp, #28\n\t" \
    "mov r0, #4\n\t" \
    "str r0, " KT_CHANNELS_LEFT "\n\t"

/* Results and columns of the next channel. */
#define KT_OPEN_CHANNEL(channel_bytes) \
    "ldr lr, " KT_COLUMNS "\n\t" \
    "add r3, lr, #" channel_bytes "\n\t" \
    "str r3, " KT_COLUMNS "\n\t" \
    "ldr r3, " KT_Y "\n\t" \
    "str r3, " KT_AT "\n\t" \
    "add r3, #1\n\t" \
    "str r3, " KT_Y "\n\t" \
    "ldr r0, " KT_PAIRS "\n\t" \
    "str r0, " KT_LEFT "\n\t" \
    "cmp r0, #0\n\t" \
    "beq.w 3f\n\t" \
    "1:\n\t"

/* The next channel: its weights, requantisation and bias; its results and columns. */
#define KT_NEXT_CHANNEL_OF(channel_bytes) \
    "5:\n\t" \
    "ldr r12, " KT_STREAM "\n\t" \
    "ldm r12!, {r4, r6, r8}\n\t" \
    "ldm r12!, {r0, r1, r2}\n\t" \
    "str r12, " KT_STREAM "\n\t" \
    "strd r0, r1, " KT_MULTIPLIER "\n\t" \
    "str r2, " KT_SHIFT "\n\t" \
    "mov r3, #0xFF00FF00\n\t" \
    "and r5, r3, r4, lsl #8\n\t" "and r4, r3\n\t" \
    "and r7, r3, r6, lsl #8\n\t" "and r6, r3\n\t" \
    "and r9, r3, r8, lsl #8\n\t" "and r8, r3\n\t" \
    "ldr r12, " KT_BIASES "\n\t" \
    "ldr r3, [r12], #4\n\t" \
    "str r12, " KT_BIASES "\n\t" \
    "lsl r3, #8\n\t" \
    "str r3, " KT_BIAS "\n\t" \
    KT_OPEN_CHANNEL(channel_bytes)
#define KT_NEXT_CHANNEL KT_NEXT_CHANNEL_OF("24")
#define KT_NEXT_CHANNEL_STRIDED KT_NEXT_CHANNEL_OF("20")

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
    KT_OPEN_CHANNEL("24")

/* One kernel row of two results a, b; first: what a and b start from. e, f: two column pairs. */
#define KT_ROW(a, b, from_a, from_b, u, v) \
    "smlad " a ", r10, " u ", " from_a "\n\t"  "smlatb " b ", r10, " u ", " from_b "\n\t" \
    "smlabt " a ", r11, " v ", " a "\n\t"      "smlad " b ", r11, " v ", " b "\n\t"
#define KT_ROW_STRIDED(a, b, from_a, from_b, u, v) \
    "smlad " a ", r10, " u ", " from_a "\n\t"  "smlad " b ", r11, " u ", " from_b "\n\t" \
    "smlabt " a ", r11, " v ", " a "\n\t"      "smlabt " b ", r12, " v ", " b "\n\t"

/* Words of neighbouring column pairs, which lie 96 bytes apart, strided 80: six or five rows of four channels. */
#define KT_WORDS(offset) "ldr r10, [lr, #" offset "]\n\t" "ldr r11, [lr, #96 + " offset "]\n\t"
#define KT_TWO_WORDS_STRIDED(offset) "ldr r10, [lr, #" offset "]\n\t" "ldr r11, [lr, #80 + " offset "]\n\t"
#define KT_WORDS_STRIDED(offset) KT_TWO_WORDS_STRIDED(offset) "ldr r12, [lr, #160 + " offset "]\n\t"

/* 2 x 2 results over four input rows, the first of them at `offset`. */
#define KT_TILE(offset) \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS(offset) KT_ROW("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS(offset " + 4") KT_ROW("r0", "r1", "r0", "r1", "r6", "r7") KT_ROW("r2", "r3", "r3", "r3", "r4", "r5") \
    KT_WORDS(offset " + 8") KT_ROW("r0", "r1", "r0", "r1", "r8", "r9") KT_ROW("r2", "r3", "r2", "r3", "r6", "r7") \
    KT_WORDS(offset " + 12") KT_ROW("r2", "r3", "r2", "r3", "r8", "r9")

/* The same over five input rows and five columns. */
#define KT_TILE_STRIDED \
    "ldr r3, " KT_BIAS "\n\t" \
    KT_WORDS_STRIDED("0") KT_ROW_STRIDED("r0", "r1", "r3", "r3", "r4", "r5") \
    KT_WORDS_STRIDED("4") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r6", "r7") \
    KT_WORDS_STRIDED("8") KT_ROW_STRIDED("r0", "r1", "r0", "r1", "r8", "r9") \
    KT_ROW_STRIDED("r2", "r3", "r3", "r3", "r4", "r5") \
    KT_WORDS_STRIDED("12") KT_ROW_STRIDED("r2", "r3", "r2", "r3", "r6", "r7") \
    KT_WORDS_STRIDED("16") KT_ROW_STRIDED("r2", "r3", "r2", "r3", "r8", "r9")

#define KT_SATURATED \
    "asr r0, r12\n\t"      "asr r1, r12\n\t"      "asr r2, r12\n\t"      "asr r3, r12\n\t" \
    "ssat r0, #8, r0\n\t"  "ssat r1, #8, r1\n\t"  "ssat r2, #8, r2\n\t"  "ssat r3, #8, r3\n\t"
#define KT_BAND_HALF_UP \
    "ldrd r10, r11, " KT_MULTIPLIER "\n\t" \
    "ldr r12, " KT_SHIFT "\n\t" \
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

/* The second row first: where it does not exist its step is 0, and what is stored there is overwritten. */
#define KT_STORE_TILE(step) \
    "ldr r11, " KT_STEP_X "\n\t" \
    "ldr r12, " step "\n\t" \
    "add r12, r10\n\t" \
    "strb r3, [r12, r11]\n\t"  "strb r2, [r12]\n\t" \
    "strb r1, [r10, r11]\n\t"  "strb r0, [r10]\n\t"
#define KT_STORE_TOP "ldr r10, " KT_AT "\n\t" KT_STORE_TILE(KT_TOP_STEP)
#define KT_STORE_BOTTOM "ldr r10, " KT_AT "\n\t" "ldr r11, " KT_BOTTOM "\n\t" "add r10, r11\n\t" KT_STORE_TILE(KT_BOTTOM_STEP)
#define KT_SKIP_BOTTOM "ldr r12, " KT_BOTTOM "\n\t" "cmp r12, #0\n\t" "beq.w 2f\n\t"

/* A last column alone: two rows, results in r0 and r2. Windows of both strides read the same two column pairs. */
#define KT_NARROW_ROW(a, from, u, v) "smlad " a ", r10, " u ", " from "\n\t" "smlabt " a ", r11, " v ", " a "\n\t"
#define KT_NARROW_TILE(offset) \
    "ldr r2, " KT_BIAS "\n\t" \
    KT_WORDS(offset) KT_NARROW_ROW("r0", "r2", "r4", "r5") \
    KT_WORDS(offset " + 4") KT_NARROW_ROW("r0", "r0", "r6", "r7") KT_NARROW_ROW("r2", "r2", "r4", "r5") \
    KT_WORDS(offset " + 8") KT_NARROW_ROW("r0", "r0", "r8", "r9") KT_NARROW_ROW("r2", "r2", "r6", "r7") \
    KT_WORDS(offset " + 12") KT_NARROW_ROW("r2", "r2", "r8", "r9")
#define KT_NARROW_TILE_STRIDED \
    "ldr r2, " KT_BIAS "\n\t" \
    KT_TWO_WORDS_STRIDED("0") KT_NARROW_ROW("r0", "r2", "r4", "r5") \
    KT_TWO_WORDS_STRIDED("4") KT_NARROW_ROW("r0", "r0", "r6", "r7") \
    KT_TWO_WORDS_STRIDED("8") KT_NARROW_ROW("r0", "r0", "r8", "r9") KT_NARROW_ROW("r2", "r2", "r4", "r5") \
    KT_TWO_WORDS_STRIDED("12") KT_NARROW_ROW("r2", "r2", "r6", "r7") \
    KT_TWO_WORDS_STRIDED("16") KT_NARROW_ROW("r2", "r2", "r8", "r9")
#define KT_NARROW_SATURATED \
    "ldr r12, " KT_SHIFT "\n\t" \
    "asr r0, r12\n\t"      "asr r2, r12\n\t" \
    "ssat r0, #8, r0\n\t"  "ssat r2, #8, r2\n\t"
#define KT_NARROW_HALF_UP \
    "ldrd r10, r11, " KT_MULTIPLIER "\n\t" \
    "smmla r0, r0, r10, r11\n\t"  "smmla r2, r2, r10, r11\n\t" KT_NARROW_SATURATED
#define KT_NARROW_AWAY "ldrd r10, r11, " KT_MULTIPLIER "\n\t" KT_AWAY_ONE("r0") KT_AWAY_ONE("r2") KT_NARROW_SATURATED
#define KT_STORE_NARROW(step) "ldr r12, " step "\n\t" "strb r2, [r10, r12]\n\t" "strb r0, [r10]\n\t"
#define KT_STORE_NARROW_TOP "ldr r10, " KT_AT "\n\t" KT_STORE_NARROW(KT_TOP_STEP)
#define KT_STORE_NARROW_BOTTOM "ldr r10, " KT_AT "\n\t" "ldr r11, " KT_BOTTOM "\n\t" "add r10, r11\n\t" KT_STORE_NARROW(KT_BOTTOM_STEP)
#define KT_SKIP_NARROW_BOTTOM "ldr r12, " KT_BOTTOM "\n\t" "cmp r12, #0\n\t" "beq.w 4f\n\t"

/* The next two columns; then the last one, where it stands alone. */
#define KT_NEXT_COLUMNS(advance) \
    "2:\n\t" \
    "ldr r10, " KT_AT "\n\t" \
    "ldr r11, " KT_STEP_X "\n\t" \
    "ldr r12, " KT_LEFT "\n\t" \
    "add r10, r10, r11, lsl #1\n\t" \
    "str r10, " KT_AT "\n\t" \
    "add lr, #" advance "\n\t" \
    "subs r12, #1\n\t" \
    "str r12, " KT_LEFT "\n\t" \
    "bne.w 1b\n\t" \
    "3:\n\t" \
    "ldr r0, " KT_ODD "\n\t" \
    "cmp r0, #0\n\t" \
    "beq.w 4f\n\t"

/* The next channel, or return. */
#define KT_LEAVE_BAND \
    "4:\n\t" \
    "ldr r0, " KT_CHANNELS_LEFT "\n\t" \
    "subs r0, #1\n\t" \
    "str r0, " KT_CHANNELS_LEFT "\n\t" \
    "bne.w 5b\n\t" \
    KT_RETURN("52")

#endif
