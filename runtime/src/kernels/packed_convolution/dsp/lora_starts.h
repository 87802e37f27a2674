/* lora_starts.h: ../lora_starts.h for the DSP extension: both positions at once, in assembly, of which rank 4 has one of its own.
 *
 * With m the multiplier and n the right shift, in [1, 32], rounding twice is an SMMLAR, a correction for the sign, and an SMMLSR, whose second
 * factor is negative so that it has room for 2^31:
 *
 *     ((2 x * m + 2^31 >> 32) - (x < 0 ? 1 : 0)) * 2^(32-n) + 2^31 >> 32
 *
 * and what the second is added to comes for nothing. A shift to the left is in front of an SMMLAR, and what it gives is limited. Far channels give
 * anything. */
#ifndef KT_DSP_LORA_STARTS_H
#define KT_DSP_LORA_STARTS_H

#include "../../../product/dsp/text.h"
#include "../../dsp/simd.h"
#include "../lora_starts.h"
#include "any_rank.h"
#include "doubled_products.h"

/* least_power: -2^(32-n) of the least shift; that of a channel is as much to the left as its own is greater, and 0 where it is a shift to the left,
 * by as much as its own is greater than `none`. */
typedef struct {
    const int8_t *b;
    const int32_t *addend, *start;
    int32_t *starts;
    kt_four_u u[2];
    int32_t least_power;
    int32_t *end;
    int32_t none, limit;
} kt_four_starts;

/* The start of a channel at one position: twice its product, which becomes the start; a register to use. */
#define KT_RIGHT_START(twice, free) \
    "asr " free ", " twice ", #31\n\t" \
    "smmlar " twice ", " twice ", r8, " free "\n\t" \
    "smmlsr " twice ", " twice ", r9, r12\n\t"
/* Any rank: for each four of it twice the codes at both positions, zeros where the rank ends. behind: from the codes of a channel, rounded up to
 * fours, to those of the next. */
enum { KT_MOST_WORDS = 8 };
typedef struct {
    kt_four_starts fours; /* without u */
    int32_t behind;
    const kt_four_u *words, *words_end;
    kt_four_u u[2 * KT_MOST_WORDS];
} kt_any_starts;

/* What becomes of r10 and r11, twice the products of a channel, in either kernel. on_stack: bytes to least_power; at: where the start goes. */
#define KT_START_OF_CHANNEL(on_stack, at) \
    "ldrd r8, r9, [r1], #8\n\t" \
    "ldr r12, [sp, #" on_stack "]\n\t" \
    "lsls r9, r12, r9\n\t" \
    "beq 4" at "f\n\t" \
    "ldr r12, [r2], #4\n\t" \
    KT_RIGHT_START("r10", "lr") KT_RIGHT_START("r11", "lr") \
    "5" at ":\n\t" \
    "str r10, [r3, #" at "]\n\t" \
    "str r11, [r3, #16 + " at "]\n\t"
#define KT_LEFT_START_OF_CHANNEL(on_stack, at) \
    "4" at ":\n\t" \
    "ldr lr, [r1, #-4]\n\t" \
    "ldr r12, [sp, #8 + " on_stack "]\n\t" \
    "sub lr, lr, r12\n\t" \
    "lsl r10, r10, lr\n\t" "lsl r11, r11, lr\n\t" \
    "smmlar r10, r10, r8, r9\n\t" "smmlar r11, r11, r8, r9\n\t" \
    "ldr r12, [sp, #12 + " on_stack "]\n\t" \
    "lsl r9, r12, #1\n\t" \
    "add lr, r10, r12\n\t" "cmp lr, r9\n\t" /* within the limit on either side? */ \
    "itt ls\n\t" "addls lr, r11, r12\n\t" "cmpls lr, r9\n\t" \
    "it hi\n\t" "blhi 7f\n\t" \
    "ldr r12, [r2], #4\n\t" \
    "add r10, r12\n\t" \
    "add r11, r12\n\t" \
    "b 5" at "b\n\t"
/* Limits both addends to +-r12. */
#define KT_LIMIT_ADDENDS \
    "7:\n\t" \
    ".irp addend, r10, r11\n\t" \
    "cmp \\addend, r12\n\t" "it gt\n\t" "movgt \\addend, r12\n\t" \
    "cmn \\addend, r12\n\t" "it lt\n\t" "rsblt \\addend, r12, #0\n\t" \
    ".endr\n\t" \
    "bx lr\n\t"

/* Quads of channels, rank 4: 20 instructions for two positions. */
static KT_NAKED __attribute__((noinline)) void kt_start_fours(const kt_four_starts *fours)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "add r1, r0, #32\n\t"
                     "ldm r1, {r1-r4}\n\t"
                     "push {r1-r4}\n\t" /* from sp on: least_power, end, none, limit */
                     "ldm r0, {r0-r7}\n\t"
                     "1:\n\t"
                     ".irp at, 0, 4, 8, 12\n\t"
                     "ldr r9, [r0], #4\n\t"
                     "sxtb16 r8, r9\n\t"
                     "sxtb16 r9, r9, ror #8\n\t"
                     "smuad r10, r8, r4\n\t"
                     "smuad r11, r8, r6\n\t"
                     "smlad r10, r9, r5, r10\n\t"
                     "smlad r11, r9, r7, r11\n\t"
                     KT_START_OF_CHANNEL("0", "\\at\\()")
                     ".endr\n\t"
                     "ldr lr, [sp, #4]\n\t"
                     "adds r3, #32\n\t"
                     "cmp r3, lr\n\t"
                     "bne 1b\n\t"
                     "add sp, #16\n\t"
                     "pop {r4-r11, pc}\n\t"
                     ".irp at, 0, 4, 8, 12\n\t"
                     KT_LEFT_START_OF_CHANNEL("0", "\\at\\()")
                     ".endr\n\t"
                     KT_LIMIT_ADDENDS);
}

/* Quads of channels, any rank up to 4 * KT_MOST_WORDS: 19 instructions and 10 for each four of it. On the stack behind, words, words_end, then as
 * above. */
static KT_NAKED __attribute__((noinline)) void kt_start_any(const kt_any_starts *any)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "add r1, r0, #32\n\t"
                     "ldm r1, {r1-r7}\n\t"
                     "push {r1-r4}\n\t"  /* least_power, end, none, limit */
                     "push {r5-r7}\n\t"  /* behind, words, words_end */
                     "ldm r0, {r0-r3}\n\t"
                     "1:\n\t"
                     ".irp at, 0, 4, 8, 12\n\t"
                     "mov r10, #0\n\t"
                     "mov r11, #0\n\t"
                     "ldrd r4, lr, [sp, #4]\n\t"
                     "6:\n\t"
                     "ldr r9, [r0], #4\n\t"
                     "ldm r4!, {r5, r6, r7, r12}\n\t"
                     "sxtb16 r8, r9\n\t"
                     "sxtb16 r9, r9, ror #8\n\t"
                     "smlad r10, r8, r5, r10\n\t"
                     "smlad r11, r8, r7, r11\n\t"
                     "smlad r10, r9, r6, r10\n\t"
                     "smlad r11, r9, r12, r11\n\t"
                     "cmp r4, lr\n\t"
                     "bne 6b\n\t"
                     "ldr r4, [sp]\n\t"
                     "add r0, r4\n\t"
                     KT_START_OF_CHANNEL("12", "\\at\\()")
                     ".endr\n\t"
                     "ldr lr, [sp, #16]\n\t"
                     "adds r3, #32\n\t"
                     "cmp r3, lr\n\t"
                     "bne 1b\n\t"
                     "add sp, #28\n\t"
                     "pop {r4-r11, pc}\n\t"
                     ".irp at, 0, 4, 8, 12\n\t"
                     KT_LEFT_START_OF_CHANNEL("12", "\\at\\()")
                     ".endr\n\t"
                     KT_LIMIT_ADDENDS);
}

/* sum - (a * b rounded to 2^32, as kt_add_high_product) */
KT_INLINE int32_t kt_subtract_high_product(int32_t a, int32_t b, int32_t sum)
{
    int32_t total;
    __asm__("smmlsr %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* -2^bits, or 0 where that is not in [0, 31]. */
KT_INLINE int32_t kt_negative_power(int32_t bits)
{
    return (uint32_t)bits < 32 ? (int32_t)(0 - (UINT32_C(1) << bits)) : 0;
}

/* shift: to the left. */
KT_INLINE int32_t kt_start_of_channel(const kt_lora_layer *lora, int32_t twice, int32_t multiplier, int32_t shift, int32_t start)
{
    const int32_t limit = lora->params->addend_limit;
    if (shift < 0) {
        return kt_subtract_high_product(kt_add_high_product(twice, multiplier, twice >> 31), kt_negative_power(shift + 32), start);
    }
    return start + kt_clamp(kt_add_high_product((int32_t)((uint32_t)twice << (shift & 31)), multiplier, 0), -limit, limit);
}

/* Channels [c, count) of a block one by one, any rank. */
static __attribute__((noinline)) void kt_start_each(const kt_lora_layer *lora, const kt_lora_block *block, int32_t c, int32_t *starts)
{
    const int32_t rank = lora->params->rank;
    const int32_t *addend = lora->params->addend + KT_SCALE_WORDS * (block->first + c), *start = lora->start + block->first;
    const int8_t *b = lora->b + (block->first + c) * rank;
    for (; c < block->count; c++, b += rank, addend += KT_SCALE_WORDS) {
        const int32_t shift = kt_lora_shift(lora, block->first + c);
        int32_t *const place = starts + kt_start_place(c);
        int32_t twice[2];
        kt_doubled_products(b, block->u[0], block->u[1], rank, twice);
        place[0] = kt_start_of_channel(lora, twice[0], addend[0], shift, start[c]);
        place[KT_QUAD] = kt_start_of_channel(lora, twice[1], addend[0], shift, start[c]);
    }
}

/* Twice the codes of a position; between its fours lie those of the other one. */
static inline void kt_double_words(const int8_t *u, int32_t rank, kt_four_u *words)
{
    for (; rank > 0; rank -= 4, u += 4, words += 2) {
        int8_t four[4] = {0, 0, 0, 0};
        memcpy(four, u, (size_t)kt_minimum(rank, 4));
        *words = kt_doubled_four(four);
    }
}

/* Channels of a block whose codes can be read in whole fours, in whole quads: behind the last of a layer nothing may be read. */
static inline int32_t kt_channels_in_fours(const kt_lora_layer *lora, const kt_lora_block *block)
{
    const int32_t rank = lora->params->rank, more = -rank & 3;
    const int32_t last = lora->params->layer.window.output[KT_CHANNELS] - kt_divide_up(more, rank);
    return kt_maximum(kt_minimum(block->count, last - block->first), 0) & -KT_QUAD;
}

/* Quads of a block. */
static __attribute__((noinline)) void kt_start_quads(const kt_lora_block *block, int32_t rank, const kt_four_starts *start)
{
    kt_any_starts any;
    any.fours = *start;
    if (!KT_ANY_RANK || rank == 4) {
        any.fours.u[0] = kt_doubled_four(block->u[0]);
        any.fours.u[1] = kt_doubled_four(block->u[1]);
        kt_start_fours(&any.fours);
        return;
    }
    any.behind = -(-rank & 3);
    any.words = any.u;
    any.words_end = any.u + 2 * kt_divide_up(rank, 4);
    kt_double_words(block->u[0], rank, any.u);
    kt_double_words(block->u[1], rank, any.u + 1);
    kt_start_any(&any);
}

static void kt_lora_starts(const kt_lora_layer *lora, const kt_lora_block *block, int32_t *starts)
{
    const kt_packed_lora_params *const params = lora->params;
    const int32_t least = params->least_shift + lora->exponent, rank = params->rank;
    const int32_t fours = (KT_ANY_RANK ? rank <= 4 * KT_MOST_WORDS : rank == 4) && least >= -32 ? kt_channels_in_fours(lora, block) : 0;
    if (fours > 0) {
        const kt_four_starts start = {lora->b + rank * block->first,
                                      params->addend + KT_SCALE_WORDS * block->first,
                                      lora->start + block->first,
                                      starts,
                                      {{0, 0}, {0, 0}},
                                      kt_negative_power(least + 32),
                                      starts + 2 * fours,
                                      -least,
                                      params->addend_limit};
        kt_start_quads(block, rank, &start);
    }
    if (fours < block->count) {
        kt_start_each(lora, block, fours, starts);
    }
    kt_far_starts(lora, block, block->count, starts);
    kt_no_starts(block->count, starts);
}

#endif
