/* path_starts.h: what LoRA adds to the sums of a pointwise gradient is a part of what they start from, for the DSP extension.
 *
 * Multiplier and shift are the same for every channel. Rounding twice of a right shift n is two instructions and a correction for the sign, as
 * ../dsp/lora_starts.h says; a shift to the left is one in front of an SMMLAR. Four rows of A are read at once. Of more, sums stand where starts go
 * until the last four are added. */
#ifndef KT_DSP_PATH_STARTS_H
#define KT_DSP_PATH_STARTS_H

#include "../../../product/dsp/text.h"
#include "../../../product/product.h"
#include "../packed_input_gradient.h"
#include "any_rank.h"

enum { KT_PATH_ROWS = 4, KT_MOST_PATH_ROWS = KT_ANY_RANK ? 32 : 4, KT_STARTED_WORDS = 9, KT_STARTED_BLOCK = 64 };

/* codes: twice the gradients of the inner tensor as pairs, of two positions. starts, end: KT_STARTED_WORDS for each four channels. rows: of A, any
 * where the codes are 0. power: -2^(32-n), or the shift to the left. start: half a unit of the result; shift: of it. at: bytes of a row that are
 * done. */
typedef struct {
    uint32_t codes[2][2];
    int32_t *starts;
    const int8_t *rows[KT_PATH_ROWS];
    int32_t multiplier, power, start, shift;
    const int32_t *end;
    int32_t at;
} kt_path_fours;

/* The starts of a channel at two positions: `low`, `high`: words of rows 0 and 1, 2 and 3. first: how their sums begin. */
#define KT_PATH_CHANNEL(low, high, rotation, first, scale, at) \
    "sxtb16 r4, " low rotation "\n\t" \
    "sxtb16 r5, " high rotation "\n\t" \
    first(at) \
    "smlad r6, r5, r1, r6\n\t" \
    "smlad r7, r5, r3, r7\n\t" \
    scale \
    "str r6, [lr, #" at "]\n\t" \
    "str r7, [lr, #16 + " at "]\n\t"
#define KT_PATH_FROM_ZERO(at) "smuad r6, r4, r0\n\t" "smuad r7, r4, r2\n\t"
#define KT_PATH_FROM_SUMS(at) \
    "ldr r6, [lr, #" at "]\n\t" "ldr r7, [lr, #16 + " at "]\n\t" "smlad r6, r4, r0, r6\n\t" "smlad r7, r4, r2, r7\n\t"
#define KT_PATH_UNSCALED ""
#define KT_PATH_RIGHT \
    "ldrd r4, r5, [sp, #16]\n\t" \
    "asr r12, r6, #31\n\t" "smmlar r6, r6, r4, r12\n\t" \
    "asr r12, r7, #31\n\t" "smmlar r7, r7, r4, r12\n\t" \
    "ldr r12, [sp, #24]\n\t" \
    "smmlsr r6, r6, r5, r12\n\t" "smmlsr r7, r7, r5, r12\n\t"
#define KT_PATH_LEFT \
    "ldrd r4, r5, [sp, #16]\n\t" \
    "ldr r12, [sp, #24]\n\t" \
    "lsl r6, r5\n\t" "lsl r7, r5\n\t" \
    "smmlar r6, r6, r4, r12\n\t" "smmlar r7, r7, r4, r12\n\t"

/* On the stack rows, multiplier, power, start, shift, end, at. */
#define KT_PATH_FOURS(first, scale) \
    "push {r4-r11, lr}\n\t" \
    "ldr lr, [r0, #16]\n\t" \
    "add r1, r0, #20\n\t" \
    "ldm r1, {r2-r11}\n\t" \
    "push {r2-r11}\n\t" \
    "ldm r0, {r0-r3}\n\t" \
    "1:\n\t" \
    "ldr r12, [sp, #36]\n\t" \
    "ldrd r4, r5, [sp]\n\t" \
    "ldrd r6, r7, [sp, #8]\n\t" \
    "ldr r4, [r4, r12]\n\t" "ldr r5, [r5, r12]\n\t" "ldr r6, [r6, r12]\n\t" "ldr r7, [r7, r12]\n\t" \
    "adds r12, #4\n\t" \
    "str r12, [sp, #36]\n\t" \
    "pkhbt r8, r4, r5, lsl #16\n\t" "pkhtb r9, r5, r4, asr #16\n\t" \
    "pkhbt r10, r6, r7, lsl #16\n\t" "pkhtb r11, r7, r6, asr #16\n\t" \
    KT_PATH_CHANNEL("r8", "r10", "", first, scale, "0") \
    KT_PATH_CHANNEL("r8", "r10", ", ror #8", first, scale, "4") \
    KT_PATH_CHANNEL("r9", "r11", "", first, scale, "8") \
    KT_PATH_CHANNEL("r9", "r11", ", ror #8", first, scale, "12") \
    "ldrd r4, r5, [sp, #28]\n\t" \
    "str r4, [lr, #32]\n\t" \
    "adds lr, #36\n\t" \
    "cmp lr, r5\n\t" \
    "bne.w 1b\n\t" \
    "add sp, #40\n\t" \
    "pop {r4-r11, pc}\n\t"

static KT_NAKED __attribute__((noinline)) void kt_right_fours(const kt_path_fours *fours)
{
    __asm__ volatile(KT_PATH_FOURS(KT_PATH_FROM_ZERO, KT_PATH_RIGHT));
}

static KT_NAKED __attribute__((noinline)) void kt_left_fours(const kt_path_fours *fours)
{
    __asm__ volatile(KT_PATH_FOURS(KT_PATH_FROM_ZERO, KT_PATH_LEFT));
}

/* The same added to sums that stand there, and sums alone. */
static KT_NAKED __attribute__((noinline)) void kt_last_right_fours(const kt_path_fours *fours)
{
    __asm__ volatile(KT_PATH_FOURS(KT_PATH_FROM_SUMS, KT_PATH_RIGHT));
}

static KT_NAKED __attribute__((noinline)) void kt_last_left_fours(const kt_path_fours *fours)
{
    __asm__ volatile(KT_PATH_FOURS(KT_PATH_FROM_SUMS, KT_PATH_LEFT));
}

static KT_NAKED __attribute__((noinline)) void kt_next_fours(const kt_path_fours *fours)
{
    __asm__ volatile(KT_PATH_FOURS(KT_PATH_FROM_SUMS, KT_PATH_UNSCALED));
}

/* Whether a gradient can start from its path: limit: what the compiler proved that sums and half a unit leave of int32, 0 for none. */
static inline int kt_starts_with_path(const kt_gradient_walk *walk, int32_t limit)
{
    const kt_window *const window = walk->from.window;
    const kt_path *const path = walk->path;
    const int32_t left = kt_maximum(path->shift, 0);
    return path->rows == NULL && path->channels <= KT_MOST_PATH_ROWS && kt_is_pointwise(window) && window->input[KT_CHANNELS] % KT_QUAD == 0 &&
           left < 12 && kt_maximum(path->channels, KT_PATH_ROWS) <= limit >> (14 + left);
}

/* Twice the codes of four rows from `first` on, as the pairs (0, 1) and (2, 3). */
static inline void kt_double_codes(const kt_path *path, int32_t position, int32_t first, uint32_t codes[2])
{
    const int8_t *const g = path->gradient + position * path->channels + first;
    const int32_t count = kt_minimum(path->channels - first, KT_PATH_ROWS);
    int32_t twice[KT_PATH_ROWS] = {0, 0, 0, 0};
    int32_t i;
    for (i = 0; i < count; i++) {
        twice[i] = 2 * g[i];
    }
    codes[0] = kt_low_halves((uint32_t)twice[0], (uint32_t)twice[1]);
    codes[1] = kt_low_halves((uint32_t)twice[2], (uint32_t)twice[3]);
}

/* Four rows from `row` on, and their codes at both positions. */
static inline void kt_take_rows(const kt_gradient_walk *walk, kt_path_fours *fours, int32_t row, int32_t position, int32_t step)
{
    const kt_path *const path = walk->path;
    const int32_t depth = walk->from.window->input[KT_CHANNELS];
    int32_t i;
    for (i = 0; i < KT_PATH_ROWS; i++) {
        fours->rows[i] = path->weights + (row + i < path->channels ? row + i : row) * depth;
    }
    kt_double_codes(path, position, row, fours->codes[0]);
    kt_double_codes(path, position + step, row, fours->codes[1]);
}

/* The starts of a block of more than four rows. */
static __attribute__((noinline)) void kt_start_many_rows(const kt_gradient_walk *walk, kt_path_fours *fours, int32_t position, int32_t step,
                                                         size_t bytes)
{
    const int32_t last = (walk->path->channels - 1) & -KT_PATH_ROWS;
    int32_t row;
    memset(fours->starts, 0, bytes);
    for (row = 0; row < last; row += KT_PATH_ROWS) {
        kt_take_rows(walk, fours, row, position, step);
        kt_next_fours(fours);
    }
    kt_take_rows(walk, fours, last, position, step);
    if (walk->path->shift < 0) {
        kt_last_right_fours(fours);
    } else {
        kt_last_left_fours(fours);
    }
}

/* Both positions of a panel, or one alone: a block of channels after the other. */
static __attribute__((noinline)) void kt_multiply_started(const kt_gradient_walk *walk, kt_path_fours *fours, int32_t position, int32_t step,
                                                          int32_t pairs)
{
    const int32_t depth = walk->from.window->input[KT_CHANNELS];
    const int few = !KT_ANY_RANK || walk->path->channels <= KT_PATH_ROWS;
    const int32_t *stream = walk->stream;
    int8_t *dx = walk->dx + position * depth;
    int32_t first;
    if (few) {
        kt_double_codes(walk->path, position, 0, fours->codes[0]);
        kt_double_codes(walk->path, position + step, 0, fours->codes[1]);
    }
    for (first = 0; first < depth; first += KT_STARTED_BLOCK) {
        const int32_t count = kt_minimum(depth - first, KT_STARTED_BLOCK), words = count / KT_QUAD * KT_STARTED_WORDS;
        fours->end = fours->starts + words;
        fours->at = first;
        if (!few) {
            kt_start_many_rows(walk, fours, position, step, (size_t)words * sizeof *fours->starts);
        } else if (walk->path->shift < 0) {
            kt_right_fours(fours);
        } else {
            kt_left_fours(fours);
        }
        kt_product_started_gradient(dx, step * depth, dx + count, fours->starts, walk->panel, pairs, stream);
        dx += count;
        stream += count / KT_QUAD * 2 * pairs;
    }
}

static void kt_walk_started(const kt_gradient_walk *walk)
{
    const kt_window *const window = walk->from.window;
    const kt_path *const path = walk->path;
    const int32_t pairs = kt_channel_pairs(window->output[KT_CHANNELS]);
    const int32_t direction = kt_direction(walk->from.g, walk->dx), right = path->shift + 32;
    int32_t starts[KT_STARTED_BLOCK / KT_QUAD * KT_STARTED_WORDS];
    kt_path_fours fours = {{{0, 0}, {0, 0}}, starts, {NULL, NULL, NULL, NULL}, path->multiplier, path->shift,
                           (int32_t)(UINT32_C(1) << (walk->shift - 1)), walk->shift, NULL, 0};
    int32_t left = window->input[KT_Y] * window->input[KT_X];
    int32_t position = kt_first(direction, left);
    kt_take_rows(walk, &fours, 0, position, 0);
    if (path->shift < 0) {
        fours.power = right < 0 ? 0 : (int32_t)(0 - (UINT32_C(1) << right));
    }
    for (; left > 0; left -= 2, position += 2 * direction) {
        kt_fill_pointwise(&walk->from, walk->panel, position, direction, left);
        kt_multiply_started(walk, &fours, position, left > 1 ? direction : 0, pairs);
    }
}

#endif
