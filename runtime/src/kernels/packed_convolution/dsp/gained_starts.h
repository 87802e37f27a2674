/* gained_starts.h: ../packed_gain.h for the DSP extension: what sums start from, and their epilogues, with gains, in assembly, a channel after the
 * other. */
#ifndef KT_DSP_GAINED_STARTS_H
#define KT_DSP_GAINED_STARTS_H

#include "../../../product/dsp/text.h"
#include "../../gain/gain.h"

/* Of channels [codes, end); places as of `kt_gained_starts`.
 *
 * down   1 - the exponent of the gains, at least 1
 * step   bytes from a channel's epilogue to the next; past: beyond those of four channels */
typedef struct {
    const int8_t *codes;
    const int32_t *bias, *fold;
    int32_t *starts;
    const int32_t *epilogue;
    int32_t limit, down, step;
    const int8_t *end;
    int32_t past;
} kt_gained_walk;

typedef char kt_walk_has_its_places[offsetof(kt_gained_walk, past) == 36 && KT_GAIN_BITS == 23 && KT_INVERSE_BITS == 24 ? 1 : -1];

/* The gain, within 1/8 and 2: r0. */
#define KT_FIND_GAIN \
    "ldrb r0, [r4], #1\n\t" \
    "lsl r0, r0, #24\n\t" \
    "asrs r0, r0, r10\n\t" \
    "adc r0, r0, #0x800000\n\t" \
    "cmp r0, #0x1000000\n\t" \
    "it gt\n\t" \
    "movgt r0, #0x1000000\n\t" \
    "cmp r0, #0x100000\n\t" \
    "it lt\n\t" \
    "movlt r0, #0x100000\n\t"

/* 2^47 / gain: r1, in three divisions. */
#define KT_FIND_INVERSE \
    "mov r2, #0x80000000\n\t" \
    "udiv r1, r2, r0\n\t" \
    "mls r2, r1, r0, r2\n\t" \
    "lsl r2, r2, #8\n\t" \
    "udiv r3, r2, r0\n\t" \
    "mls r2, r3, r0, r2\n\t" \
    "orr r1, r3, r1, lsl #8\n\t" \
    "lsl r2, r2, #8\n\t" \
    "udiv r3, r2, r0\n\t" \
    "orr r1, r3, r1, lsl #8\n\t"

/* The bias in front of the gain, limited (4), and what it stands on. What leaves an int32 goes to 5. */
#define KT_FIND_START \
    "ldr r2, [r5], #4\n\t" \
    "smull r1, r3, r1, r2\n\t" \
    "add r2, r3, #0x800000\n\t" \
    "cmp r2, #0x1000000\n\t" \
    "bhs 5f\n\t" \
    "lsrs r1, r1, #24\n\t" \
    "orr r1, r1, r3, lsl #8\n\t" \
    "adcs r1, r1, #0\n\t" \
    "bvs 5f\n" \
    "4:\n\t" \
    "cmp r1, r9\n\t" \
    "it gt\n\t" \
    "movgt r1, r9\n\t" \
    "cmn r1, r9\n\t" \
    "it lt\n\t" \
    "rsblt r1, r9, #0\n\t" \
    "ldr r2, [r6], #4\n\t" \
    "add r1, r1, r2\n\t" \
    "str r1, [r7], #4\n\t"

/* r1 multiplier, r2 addend, r3 shift (6). */
#define KT_FIND_EPILOGUE \
    "ldm r8, {r1-r3}\n\t" \
    "add r8, r8, r12\n\t" \
    "umull r11, r0, r1, r0\n\t" \
    "lsrs r1, r11, #23\n\t" \
    "orr r1, r1, r0, lsl #9\n\t" \
    "adcs r1, r1, #0\n\t" \
    "bpl 6f\n\t" \
    "lsrs r1, r11, #24\n\t" /* half of it, one bit less of a shift */ \
    "orr r1, r1, r0, lsl #8\n\t" \
    "adc r1, r1, #0\n\t" \
    "sub r2, r2, #64\n\t" \
    "asr r2, r2, #1\n\t" \
    "add r2, r2, #64\n\t" \
    "sub r3, r3, #1\n" \
    "6:\n\t" \
    "stm lr!, {r1-r3}\n\t"

/* r4..r8 codes, bias, fold, starts, epilogue; r9 limit, r10 down, r12 step, lr words of the channel. On the stack: where these four channels end,
 * where all do, past. LSRS and ASRS leave the last bit that they drop in the carry: adding it rounds half up. */
KT_NAKED __attribute__((noinline)) static void kt_walk_gained_starts(const kt_gained_walk *walk)
{
    __asm__("push {r4-r11, lr}\n\t"
            "ldm r0, {r4-r10, r12}\n\t"
            "ldrd r2, r3, [r0, #32]\n\t"
            "sub sp, #12\n\t"
            "strd r2, r3, [sp, #4]\n\t"
            "b 2f\n"
            "1:\n\t" /* the next four channels */
            "ldr r3, [sp, #8]\n\t"
            "add r8, r8, r3\n\t"
            "mov r7, lr\n"
            "2:\n\t"
            "add lr, r7, #16\n\t"
            "add r1, r4, #4\n\t"
            "cmp r1, r2\n\t"
            "it hi\n\t"
            "movhi r1, r2\n\t"
            "str r1, [sp]\n"
            "3:\n\t"
            KT_FIND_GAIN KT_FIND_INVERSE KT_FIND_START KT_FIND_EPILOGUE
            "ldrd r1, r2, [sp]\n\t"
            "cmp r4, r1\n\t"
            "bne 3b\n\t"
            "cmp r4, r2\n\t"
            "bne 1b\n\t"
            "add sp, #12\n\t"
            "pop {r4-r11, pc}\n"
            "5:\n\t" /* beyond an int32 */
            "mvn r1, #0x80000000\n\t"
            "eor r1, r1, r3, asr #31\n\t"
            "b 4b\n");
}

#endif
