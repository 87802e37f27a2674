/* step_words.h: the step of 16-bit values (../step_block16.c) with the DSP extension and a unit for float32, four elements a turn, with the operations
 * of float32 that ../storage_step.h has.
 *
 * The unit converts the lower half of a register, so that two masters are made and packed at once. Its conversion to int32 rounds down while its status
 * register says so. */
#ifndef KT_OPTIM_DSP_STEP_WORDS_H
#define KT_OPTIM_DSP_STEP_WORDS_H

#include "../storage_step.h"

/* What is left of a tensor, and what it is multiplied by; count: turns, at least one; largest: of all moved values, twice the bits of its magnitude. */
typedef struct {
    int8_t *value, *remainder;
    float *accumulator;
    int32_t count;
    float factor;
    uint32_t largest;
} kt_step_words;

#define KT_LARGER_OF(bits) "cmp r12, " bits ", lsl #1\n\t" "it lo\n\t" "lsllo r12, " bits ", #1\n\t"

/* accumulator = master * factor - accumulator, which is what is moved */
__attribute__((naked, noinline)) static void kt_move_words(kt_step_words *words)
{
    (void)words;
    __asm__("push {r4-r9, lr}\n\t"
            "ldm r0, {r1-r4}\n\t"
            "vldr s8, [r0, #16]\n\t"
            "movs r12, #0\n\t"
            "mov r9, #0xFF00FF00\n"
            "1:\n\t"
            "ldr r5, [r1], #4\n\t"
            "ldr r6, [r2], #4\n\t"
            "vldm r3, {s4-s7}\n\t"
            "and r7, r9, r5, lsl #8\n\t"
            "and r5, r9, r5\n\t"
            "sxtab16 r7, r7, r6\n\t"          /* masters 0 and 2 */
            "sxtab16 r5, r5, r6, ror #8\n\t"  /* 1 and 3 */
            "lsr r8, r7, #16\n\t"
            "lsr r6, r5, #16\n\t"
            "vmov s0, s1, r7, r5\n\t"
            "vmov s2, s3, r8, r6\n\t"
            "vcvt.f32.s16 s0, s0, #0\n\t"
            "vcvt.f32.s16 s1, s1, #0\n\t"
            "vcvt.f32.s16 s2, s2, #0\n\t"
            "vcvt.f32.s16 s3, s3, #0\n\t"
            "vmul.f32 s0, s0, s8\n\t"
            "vmul.f32 s1, s1, s8\n\t"
            "vmul.f32 s2, s2, s8\n\t"
            "vmul.f32 s3, s3, s8\n\t"
            "vsub.f32 s0, s0, s4\n\t"
            "vsub.f32 s1, s1, s5\n\t"
            "vsub.f32 s2, s2, s6\n\t"
            "vsub.f32 s3, s3, s7\n\t"
            "vstm r3!, {s0-s3}\n\t"
            "vmov r5, r6, s0, s1\n\t"
            "vmov r7, r8, s2, s3\n\t"
            KT_LARGER_OF("r5") KT_LARGER_OF("r6") KT_LARGER_OF("r7") KT_LARGER_OF("r8")
            "subs r4, r4, #1\n\t"
            "bne 1b\n\t"
            "str r12, [r0, #20]\n\t"
            "pop {r4-r9, pc}\n");
}

/* Stores masters of accumulator * factor, none of which is beyond its limits, and clears the accumulator. */
__attribute__((naked, noinline)) static void kt_store_words(kt_step_words *words)
{
    (void)words;
    __asm__("push {r4-r11, lr}\n\t"
            "ldm r0, {r1-r3, r12}\n\t"
            "vldr s8, [r0, #16]\n\t"
            "vmov.f32 s9, #0.5\n\t"
            "movs r4, #0\n\t"
            "vmov s4, s5, r4, r4\n\t"
            "vmov s6, s7, r4, r4\n\t"
            "vmrs r8, fpscr\n\t"
            "bic r9, r8, #0x00C00000\n\t"
            "orr r9, r9, #0x00800000\n\t" /* down */
            "mov r10, #0xFF00FF00\n\t"
            "mov r11, #0x00800080\n"
            "1:\n\t"
            "vldm r3, {s0-s3}\n\t"
            "vmul.f32 s0, s0, s8\n\t"
            "vmul.f32 s1, s1, s8\n\t"
            "vmul.f32 s2, s2, s8\n\t"
            "vmul.f32 s3, s3, s8\n\t"
            "vadd.f32 s0, s0, s9\n\t"
            "vadd.f32 s1, s1, s9\n\t"
            "vadd.f32 s2, s2, s9\n\t"
            "vadd.f32 s3, s3, s9\n\t"
            "vmsr fpscr, r9\n\t"
            "vcvtr.s32.f32 s0, s0\n\t"
            "vcvtr.s32.f32 s1, s1\n\t"
            "vcvtr.s32.f32 s2, s2\n\t"
            "vcvtr.s32.f32 s3, s3\n\t"
            "vmsr fpscr, r8\n\t"
            "vmov r4, r5, s0, s1\n\t"
            "vmov r6, r7, s2, s3\n\t"
            "pkhbt r4, r4, r6, lsl #16\n\t" /* masters 0 and 2 */
            "pkhbt r5, r5, r7, lsl #16\n\t" /* 1 and 3 */
            "uxtb16 r6, r4\n\t"
            "uxtb16 r7, r5\n\t"
            "orr r6, r6, r7, lsl #8\n\t"
            "sadd16 r4, r4, r11\n\t"
            "sadd16 r5, r5, r11\n\t"
            "uxtb16 r4, r4, ror #8\n\t"
            "and r5, r5, r10\n\t"
            "orr r4, r4, r5\n\t"
            "str r6, [r2], #4\n\t"
            "str r4, [r1], #4\n\t"
            "vstm r3!, {s4-s7}\n\t"
            "subs r12, r12, #1\n\t"
            "bne 1b\n\t"
            "pop {r4-r11, pc}\n");
}

/* kt_block_moved of so many fours with `unit` and `kept`; returns the largest magnitude. A unit is a power of two, so that a product with both is
 * rounded once, as a product with one after the other is. */
static inline float kt_move_fours(int8_t *value, int8_t *remainder, float *accumulator, int32_t count, float unit, float kept)
{
    kt_step_words words = {value, remainder, accumulator, count, unit * kept, 0};
    if (count > 0) {
        kt_move_words(&words);
    }
    return kt_float_of_bits(words.largest >> 1);
}

/* kt_store_master of so many fours, none of which is beyond the limits. */
static inline void kt_store_fours(int8_t *value, int8_t *remainder, float *accumulator, int32_t count, float factor)
{
    kt_step_words words = {value, remainder, accumulator, count, factor, 0};
    if (count > 0) {
        kt_store_words(&words);
    }
}

#endif
