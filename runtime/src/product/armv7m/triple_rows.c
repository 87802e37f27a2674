/* Sums of 3x3 windows, three result rows in two words, in assembly for the Cortex-M3.
 *
 *     r0, lr     column of the plane, bytes to the next        r10..r12   weights of a kernel column
 *     r1         weights                                       r4..r9     words of up to three neighbouring results
 *     r2, r3     words of the plane */
#include "../triple_rows.h"

#if KT_ARMV7M

#include "triple_text.h"

#define KT_FIRST(word, value, weight) "mul " word ", " value ", " weight "\n\t"
#define KT_NEXT(word, value, weight) "mla " word ", " value ", " weight ", " word "\n\t"
#define KT_LOAD(row) "ldrd r2, r3, [r0, #8*" row "]\n\t"
#define KT_ADD(first, second, weight) KT_NEXT(first, "r2", weight) KT_NEXT(second, "r3", weight)
#define KT_WEIGHTS(column) \
    "ldrsb.w r10, [r1, #3*" column "]\n\t" "ldrsb.w r11, [r1, #3*" column "+1]\n\t" "ldrsb.w r12, [r1, #3*" column "+2]\n\t"

/* One kernel column. start: KT_FIRST for the first, whose products begin the sums. */
#define KT_TWO(column, start) \
    KT_WEIGHTS(column) \
    KT_LOAD("0") start("r4", "r2", "r10") start("r5", "r3", "r10") \
    KT_LOAD("1") KT_ADD("r4", "r5", "r11") start("r6", "r2", "r10") start("r7", "r3", "r10") \
    KT_LOAD("2") KT_ADD("r4", "r5", "r12") KT_ADD("r6", "r7", "r11") \
    KT_LOAD("3") KT_ADD("r6", "r7", "r12")
#define KT_THREE(column, start) \
    KT_WEIGHTS(column) \
    KT_LOAD("0") start("r4", "r2", "r10") start("r5", "r3", "r10") \
    KT_LOAD("1") KT_ADD("r4", "r5", "r11") start("r6", "r2", "r10") start("r7", "r3", "r10") \
    KT_LOAD("2") KT_ADD("r4", "r5", "r12") KT_ADD("r6", "r7", "r11") start("r8", "r2", "r10") start("r9", "r3", "r10") \
    KT_LOAD("3") KT_ADD("r6", "r7", "r12") KT_ADD("r8", "r9", "r11") \
    KT_LOAD("4") KT_ADD("r8", "r9", "r12")
/* Of two rows with a stride of two. */
#define KT_STRIDED(column, start) \
    KT_WEIGHTS(column) \
    KT_LOAD("0") start("r4", "r2", "r10") start("r5", "r3", "r10") \
    KT_LOAD("1") KT_ADD("r4", "r5", "r11") \
    KT_LOAD("2") KT_ADD("r4", "r5", "r12") start("r6", "r2", "r10") start("r7", "r3", "r10") \
    KT_LOAD("3") KT_ADD("r6", "r7", "r11") \
    KT_LOAD("4") KT_ADD("r6", "r7", "r12")

/* Three results of the words a, b. */
#define KT_STORE(a, b, rounding) \
    KT_DECODE(a, b) \
    KT_REQUANTIZE(b, "r3", "r10", "r11", "r12", "lr", rounding) \
    "strb r3, [r0]\n\t" \
    KT_REQUANTIZE(b, a, "r10", "r11", "r12", "lr", rounding) \
    "ldr r3, [sp, #24]\n\t" \
    "strb " a ", [r0, r3]\n\t" \
    KT_REQUANTIZE(b, "r2", "r10", "r11", "r12", "lr", rounding) \
    "ldr r3, [sp, #28]\n\t" \
    "strb r2, [r0, r3]\n\t"
#define KT_STORE_TWO(rounding) KT_STORE("r4", "r5", rounding) "add r0, r1\n\t" KT_STORE("r6", "r7", rounding)
#define KT_STORE_THREE(rounding) KT_STORE_TWO(rounding) "add r0, r1\n\t" KT_STORE("r8", "r9", rounding)

#define KT_NEXT_COLUMN "add r2, r5\n\t"

/* From sp on: the parameters. step: from the columns of one window to those of the next. */
#define KT_COLUMNS(sums, store, step) \
    "push {r4-r11, lr}\n\t" \
    "ldm r0, {r1-r10}\n\t" \
    "sub sp, #44\n\t" \
    "stm sp, {r1-r10}\n\t" \
    "1:\n\t" \
    "ldr r0, [sp]\n\t" \
    "ldr r1, [sp, #32]\n\t" \
    "ldr lr, [sp, #12]\n\t" \
    sums("0", KT_FIRST) \
    "add r0, lr\n\t" \
    sums("1", KT_NEXT) \
    "add r0, lr\n\t" \
    sums("2", KT_NEXT) \
    "adds r1, #12\n\t" \
    "ldr r10, [sp, #36]\n\t" \
    "ldm r1, {r11, r12, lr}\n\t" \
    "ldr r0, [sp, #4]\n\t" \
    "ldr r1, [sp, #20]\n\t" \
    store \
    "ldrd r2, r3, [sp]\n\t" \
    "ldrd r4, r5, [sp, #8]\n\t" \
    "ldr r6, [sp, #16]\n\t" \
    step \
    "add r3, r6\n\t" \
    "subs r4, #1\n\t" \
    "strd r2, r3, [sp]\n\t" \
    "str r4, [sp, #8]\n\t" \
    "bne.w 1b\n\t" \
    "add sp, #44\n\t" \
    "pop {r4-r11, pc}\n\t"

KT_NAKED void kt_triple_two_rows_half_up(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_TWO, KT_STORE_TWO(KT_HALF_UP), KT_NEXT_COLUMN));
}

KT_NAKED void kt_triple_two_rows_away(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_TWO, KT_STORE_TWO(KT_AWAY), KT_NEXT_COLUMN));
}

KT_NAKED void kt_triple_three_rows_half_up(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_THREE, KT_STORE_THREE(KT_HALF_UP), KT_NEXT_COLUMN));
}

KT_NAKED void kt_triple_three_rows_away(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_THREE, KT_STORE_THREE(KT_AWAY), KT_NEXT_COLUMN));
}

KT_NAKED void kt_triple_strided_rows_half_up(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_STRIDED, KT_STORE_TWO(KT_HALF_UP), KT_NEXT_COLUMN KT_NEXT_COLUMN));
}

KT_NAKED void kt_triple_strided_rows_away(const kt_triple_rows *rows)
{
    __asm__ volatile(KT_COLUMNS(KT_STRIDED, KT_STORE_TWO(KT_AWAY), KT_NEXT_COLUMN KT_NEXT_COLUMN));
}

/*     r0, r2   words of a kernel column, weights       r6, r7    words              r8..r11   sums of both rows
 *     r4       a weight                                r3, r12   columns and pairs left
 *     r1, lr   the next kernel column, step to it      r5        pairs */
#define KT_NEXT_TAP \
    "ldrd r6, r7, [r0], #8\n\t" \
    "mla r10, r6, r4, r10\n\t" "mla r11, r7, r4, r11\n\t" \
    "ldrsb r4, [r2], #1\n\t" \
    "mla r8, r6, r4, r8\n\t" "mla r9, r7, r4, r9\n\t"

#define KT_ENTER_TAPS \
    "push {r0, r4-r11, lr}\n\t" \
    "ldr lr, [r1, #8]\n\t" \
    "ldr r3, [r1, #12]\n\t" \
    "ldr r5, [r1, #16]\n\t" \
    "ldr r2, [r1, #4]\n\t" \
    "ldr r1, [r1]\n\t" \
    "mov r8, #0\n\t" "mov r9, #0\n\t" "mov r10, #0\n\t" "mov r11, #0\n\t"
#define KT_NEXT_TAPS \
    "subs r3, #1\n\t" \
    "bne 1b\n\t" \
    "ldr r0, [sp], #4\n\t" \
    "stm r0, {r8-r11}\n\t" \
    "pop {r4-r11, pc}\n\t"

KT_NAKED void kt_triple_window_words(uint32_t *words, const kt_triple_taps *taps)
{
    __asm__ volatile(KT_ENTER_TAPS
                     "lsrs r5, r5, #1\n\t"
                     "1:\n\t"
                     "mov r0, r1\n\t"
                     "add r1, r1, lr\n\t"
                     "ldrd r6, r7, [r0], #8\n\t"
                     "ldrsb r4, [r2], #1\n\t"
                     "mla r8, r6, r4, r8\n\t" "mla r9, r7, r4, r9\n\t"
                     "mov r12, r5\n\t"
                     "2:\n\t" KT_NEXT_TAP KT_NEXT_TAP
                     "subs r12, #1\n\t"
                     "bne 2b\n\t"
                     "ldrd r6, r7, [r0]\n\t"
                     "mla r10, r6, r4, r10\n\t" "mla r11, r7, r4, r11\n\t"
                     KT_NEXT_TAPS);
}

/* A tap of both rows, of which the second is two rows of the plane further. */
#define KT_STRIDED_TAP \
    "ldrsb r4, [r2], #1\n\t" \
    "ldrd r6, r7, [r0, #16]\n\t" \
    "mla r10, r6, r4, r10\n\t" "mla r11, r7, r4, r11\n\t" \
    "ldrd r6, r7, [r0], #8\n\t" \
    "mla r8, r6, r4, r8\n\t" "mla r9, r7, r4, r9\n\t"

KT_NAKED void kt_triple_strided_words(uint32_t *words, const kt_triple_taps *taps)
{
    __asm__ volatile(KT_ENTER_TAPS
                     "1:\n\t"
                     "mov r0, r1\n\t"
                     "add r1, r1, lr\n\t"
                     "lsrs r12, r5, #1\n\t"
                     "bcc 2f\n\t" /* an odd number of rows begins with one alone */
                     KT_STRIDED_TAP
                     "2:\n\t" KT_STRIDED_TAP KT_STRIDED_TAP
                     "subs r12, #1\n\t"
                     "bne 2b\n\t"
                     KT_NEXT_TAPS);
}

#endif
