/* triple_weight_gradient.h: the gradient of a pointwise layer's weights with three sums in two words (product/triple.h): the values of six
 * neighbouring input channels make four words, which are multiplied by gradients.
 *
 * 32 positions would hold whatever the values: 32 * 127 * 255 < 2^20. A panel has half as many, for the stack. */
#ifndef KT_TRIPLE_WEIGHT_GRADIENT_H
#define KT_TRIPLE_WEIGHT_GRADIENT_H

#include "../../product/triple.h"
#include "weight_gradient.h"

enum { KT_PANEL_POSITIONS = 16, KT_GRADIENT_BLOCK = 16 };

/* Words of two output channels, [2][4]: the sums over positions of a panel [positions][4] times gradients, `stride` bytes apart. */
#if KT_ARMV7M
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
static __attribute__((naked, noinline)) void kt_gradient_words(uint32_t *words, const uint32_t *panel, const uint32_t *end, const int8_t *g,
                                                               int32_t stride)
{
    __asm__ volatile("push {r0, r2, r4-r11, lr}\n\t"
                     "mov r0, r1\n\t"
                     "mov r1, r3\n\t"
                     "movs r4, #0\n\t" "movs r5, #0\n\t" "movs r6, #0\n\t" "movs r7, #0\n\t"
                     "mov r8, r4\n\t" "mov r9, r4\n\t" "mov r10, r4\n\t" "mov r11, r4\n\t"
                     "1:\n\t"
                     "ldrsb r12, [r1]\n\t"
                     "ldrsb lr, [r1, #1]\n\t"
                     "ldrd r2, r3, [r0]\n\t"
                     "mla r4, r2, r12, r4\n\t" "mla r5, r3, r12, r5\n\t" "mla r8, r2, lr, r8\n\t" "mla r9, r3, lr, r9\n\t"
                     "ldrd r2, r3, [r0, #8]\n\t"
                     "adds r0, #16\n\t"
                     "mla r6, r2, r12, r6\n\t" "mla r7, r3, r12, r7\n\t" "mla r10, r2, lr, r10\n\t" "mla r11, r3, lr, r11\n\t"
                     "ldr r2, [sp, #44]\n\t"
                     "ldr r3, [sp, #4]\n\t"
                     "add r1, r2\n\t"
                     "cmp r0, r3\n\t"
                     "bne 1b\n\t"
                     "pop {r0, r2}\n\t"
                     "stm r0, {r4-r11}\n\t"
                     "pop {r4-r11, pc}\n\t");
}
#pragma GCC diagnostic pop
#else
static void KT_IN_ORDER kt_gradient_words(uint32_t *words, const uint32_t *panel, const uint32_t *end, const int8_t *g, int32_t stride)
{
    uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (; panel != end; panel += KT_PANEL_WORDS, g += stride) {
        const uint32_t first = (uint32_t)g[0], second = (uint32_t)g[1];
        const uint32_t x0 = panel[0], x1 = panel[1], x2 = panel[2], x3 = panel[3];
        a0 += x0 * first;
        b0 += x0 * second;
        a1 += x1 * first;
        b1 += x1 * second;
        a2 += x2 * first;
        b2 += x2 * second;
        a3 += x3 * first;
        b3 += x3 * second;
    }
    words[0] = a0;
    words[1] = a1;
    words[2] = a2;
    words[3] = a3;
    words[4] = b0;
    words[5] = b1;
    words[6] = b2;
    words[7] = b3;
}
#endif

/* Up to six input channels at `positions` positions, `depth` bytes apart, zeros for what is missing. Returns the end of the panel. */
static const uint32_t *kt_fill_values(uint32_t *panel, const int8_t *x, int32_t depth, int32_t values, int32_t positions, int32_t offset)
{
    int32_t i;
    for (; positions > 0; positions--, x += depth, panel += KT_PANEL_WORDS) {
        uint32_t v[KT_POSITIONS];
        for (i = 0; i < KT_POSITIONS; i++) {
            v[i] = i < values ? (uint32_t)(x[i] + offset) : 0;
        }
        panel[0] = v[0] + (v[1] << 10);
        panel[1] = v[2] + (v[1] << 21);
        panel[2] = v[3] + (v[4] << 10);
        panel[3] = v[5] + (v[4] << 21);
    }
    return panel;
}

/* Up to six input channels from x on and `count` output channels, an even number, from g on: sums [count][6] over all positions. */
static void kt_six_gradients(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x, int32_t values, int32_t count,
                             int32_t *sums)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS];
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    uint32_t panel[KT_PANEL_POSITIONS * KT_PANEL_WORDS];
    int32_t c, i;
    memset(sums, 0, (size_t)(count * KT_POSITIONS) * sizeof *sums);
    for (; left > 0; left -= KT_PANEL_POSITIONS) {
        const int32_t positions = kt_minimum(left, KT_PANEL_POSITIONS);
        const uint32_t *const end = kt_fill_values(panel, x, depth, values, positions, params->input_offset);
        for (c = 0; c < count; c += 2) {
            uint32_t words[2 * KT_PANEL_WORDS];
            int32_t found[2 * KT_POSITIONS];
            int32_t *const sum = sums + KT_POSITIONS * c;
            kt_gradient_words(words, panel, end, g + c, channels);
            kt_six_sums(words, found);
            kt_six_sums(words + KT_PANEL_WORDS, found + KT_POSITIONS);
            for (i = 0; i < 2 * KT_POSITIONS; i++) {
                sum[i] += found[i];
            }
        }
        g += positions * channels;
        x += positions * depth;
    }
}

/* Every weight of a pointwise layer with two output channels or more, all of which are trained. Of an odd number the last pair repeats one. */
static void kt_triple_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale, float *accumulator)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    int32_t sums[KT_GRADIENT_BLOCK * KT_POSITIONS];
    int32_t c, k, i, j;
    for (k = 0; k < depth; k += KT_POSITIONS) {
        const int32_t values = kt_minimum(depth - k, KT_POSITIONS);
        for (c = 0; c < channels; c += KT_GRADIENT_BLOCK) {
            const int32_t count = kt_minimum(channels - c, KT_GRADIENT_BLOCK), odd = count & 1;
            const int32_t first = c - (odd && count == 1 ? 1 : 0), even = count == 1 ? 2 : count & -2;
            kt_six_gradients(params, g + first, x + k, values, even, sums);
            for (i = c; i < first + even; i++) {
                for (j = 0; j < values; j++) {
                    float *const entry = accumulator + i * depth + k + j;
                    *entry = kt_accumulate(*entry, sums[KT_POSITIONS * (i - first) + j], scale);
                }
            }
            if (odd && count > 1) { /* the last one, with the one before */
                kt_six_gradients(params, g + c + count - 2, x + k, values, 2, sums);
                for (j = 0; j < values; j++) {
                    float *const entry = accumulator + (c + count - 1) * depth + k + j;
                    *entry = kt_accumulate(*entry, sums[KT_POSITIONS + j], scale);
                }
            }
        }
    }
}

#endif
