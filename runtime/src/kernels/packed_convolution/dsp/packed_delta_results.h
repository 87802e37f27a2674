/* packed_delta_results.h: from the sums of frozen weights and of a packed delta to results, for two positions at once.
 *
 * What a channel's results are made with is found once a call. A channel whose shifts are unusual is done by the meaning of each step. */
#ifndef KT_DSP_PACKED_DELTA_RESULTS_H
#define KT_DSP_PACKED_DELTA_RESULTS_H

#include "packed_delta.h"
#include "packed_sums.h"

/* 2^19 and more is at the clamp after the last shift, so that a total may be limited to +-2^30. row: of the delta, -1 for none. */
static inline int kt_has_steps(const kt_trained_delta *delta, int32_t c, int32_t row)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int32_t addend_down = -(params->addend_shift[c] + delta->trained.exponent), down = -params->shift[c];
    const int addend = row < 0 || ((uint32_t)(addend_down - 1) < 31 && delta->runs * delta->length <= KT_LONGEST_ROW);
    return addend && (uint32_t)(down - 1) < KT_LARGEST_SHIFT && delta->trained.gain.codes == NULL;
}

/* The steps of every channel; words: room for 8 of each. */
static void kt_find_steps(kt_packed_delta *packed, const kt_trained_delta *delta, int32_t *words)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const uint32_t twice_offset = (uint32_t)(2 * params->output_offset + 1);
    kt_channel_steps *steps = (kt_channel_steps *)(void *)words;
    int32_t c;
    packed->steps = steps;
    packed->unusual = 0;
    for (c = 0; c < params->window.output[KT_CHANNELS]; c++, steps++) {
        const int32_t row = delta->rows == NULL ? c : delta->rows[c];
        const kt_channel_steps none = {4 * packed->rows, 0, 0, 1, delta->trained.bias[c], params->multiplier[c], 0, 1};
        *steps = none;
        if (!kt_has_steps(delta, c, row)) {
            packed->unusual = 1;
            continue;
        }
        steps->down = -params->shift[c];
        steps->added = (int32_t)(twice_offset << (steps->down - 1)); /* offset * 2^n + 2^(n-1) */
        if (row >= 0) {
            steps->product = 4 * row;
            steps->addend_multiplier = params->addend_multiplier[c];
            steps->addend_down = -(params->addend_shift[c] + delta->trained.exponent);
            steps->addend_half = (int32_t)(UINT32_C(1) << (steps->addend_down - 1));
        }
    }
}

/* kt_two_positions' arguments besides. */
typedef struct {
    const int32_t *products[2]; /* of both positions */
    const kt_channel_steps *end;
    int32_t step; /* bytes from the first position's results to the second's */
} kt_two_results;

/* Results of all channels of a block: sums [2][KT_START_BLOCK], of which the second are 128 bytes behind the first. */
static __attribute__((naked, noinline)) void kt_two_positions(const kt_channel_steps *steps __attribute__((unused)),
                                                              const int32_t *sums __attribute__((unused)), int8_t *y __attribute__((unused)),
                                                              const kt_two_results *to __attribute__((unused)))
{
    __asm__ volatile("push {r3-r11, lr}\n\t"
                     "mov r8, r1\n\t"
                     "mov r11, r2\n\t"
                     "mov r12, r0\n\t"
                     "ldr r10, [r3]\n\t"
                     "ldr lr, [r3, #4]\n\t"
                     "ldr r9, [r3, #12]\n\t"
                     "ldr r3, [r3, #8]\n\t"
                     "str r3, [sp]\n\t" /* the end */
                     "1:\n\t"
                     "ldm r12!, {r0-r3}\n\t"
                     "ldr r4, [r10, r0]\n\t"
                     "ldr r5, [lr, r0]\n\t"
                     "lsls r4, #1\n\t"
                     "lsls r5, #1\n\t"
                     "smmlar r6, r4, r1, r2\n\t"
                     "smmlar r7, r5, r1, r2\n\t"
                     "add r6, r6, r4, asr #31\n\t"
                     "add r7, r7, r5, asr #31\n\t"
                     "asrs r6, r3\n\t"
                     "asrs r7, r3\n\t"
                     "ldr r5, [r8, #128]\n\t"
                     "ldr r4, [r8], #4\n\t"
                     "ldm r12!, {r0-r3}\n\t"
                     "adds r4, r6\n\t"
                     "adds r5, r7\n\t"
                     "qadd r4, r4, r0\n\t"
                     "qadd r5, r5, r0\n\t"
                     "qadd r4, r4, r4\n\t"
                     "qadd r5, r5, r5\n\t"
                     "smmlar r6, r4, r1, r2\n\t"
                     "smmlar r7, r5, r1, r2\n\t"
                     "add r6, r6, r4, asr #31\n\t"
                     "add r7, r7, r5, asr #31\n\t"
                     "asrs r6, r3\n\t"
                     "asrs r7, r3\n\t"
                     "ssat r6, #8, r6\n\t"
                     "ssat r7, #8, r7\n\t"
                     "strb r7, [r11, r9]\n\t"
                     "strb r6, [r11], #1\n\t"
                     "ldr r0, [sp]\n\t"
                     "cmp r12, r0\n\t"
                     "bne 1b\n\t"
                     "pop {r3-r11, pc}");
}

/* The results of unusual channels. */
static __attribute__((noinline, cold)) void kt_finish_unusual(const kt_trained_delta *delta, const kt_packed_delta *packed,
                                                              const kt_sums_block *block, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t i, c;
    for (c = block->first; c < block->first + block->count; c++) {
        const int32_t row = delta->rows == NULL ? c : delta->rows[c];
        for (i = 0; i < (block->stride == 0 ? 1 : 2) && !kt_has_steps(delta, c, row); i++) {
            int32_t sum = block->sums[i * block->stride + c - block->first];
            if (row >= 0) {
                const int32_t product = packed->products[i * (packed->rows + 4) + row];
                sum += kt_scaled_addend(product, params->addend_multiplier[c], params->addend_shift[c] + delta->trained.exponent);
            }
            y[block->position[i] * channels + c] = kt_result_of_total(&delta->trained, __qadd(sum, delta->trained.bias[c]), c);
        }
    }
}

static void kt_clamp_results(const kt_packed_conv2d_lora_params *params, int8_t *y, int32_t count)
{
    const uint32_t low = kt_four(params->clamp[0]), high = kt_four(params->clamp[1]);
    for (; count >= 4; count -= 4, y += 4) {
        kt_store_word(y, kt_clamp_bytes(kt_load_word(y), low, high));
    }
    for (; count > 0; count--, y++) {
        *y = (int8_t)kt_clamp(*y, params->clamp[0], params->clamp[1]);
    }
}

/* A block of channels. The products of all rows are made with the first block of a panel. */
static void kt_finish_packed_delta(const kt_trained_delta *delta, const kt_packed_delta *packed, const kt_sums_block *block, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int32_t channels = params->window.output[KT_CHANNELS], next = packed->rows + 4;
    const kt_channel_steps *const steps = packed->steps + block->first;
    int8_t *const first = y + block->position[0] * channels + block->first, *const second = y + block->position[1] * channels + block->first;
    const kt_two_results to = {{packed->products, packed->products + next}, steps + block->count, (int32_t)(second - first)};
    if (block->first == 0) {
        kt_product_exact_sums(packed->products, block->stride == 0 ? 0 : 4 * next, packed->products + packed->rows, packed->start, block->panel,
                              params->pairs, packed->stream);
    }
    kt_two_positions(steps, block->sums, first, &to);
    if (params->clamp[0] > -128 || params->clamp[1] < 127) {
        kt_clamp_results(params, first, block->count);
        kt_clamp_results(params, second, block->count);
    }
    if (packed->unusual) {
        kt_finish_unusual(delta, packed, block, y);
    }
}

#endif
