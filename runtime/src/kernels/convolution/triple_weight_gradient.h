/* triple_weight_gradient.h: the gradient of weights with three sums in two words (product/triple.h): the values under six neighbouring places of
 * the window make four words at each position, which are multiplied by gradients.
 *
 * A panel has 32 positions at most: 32 * 127 * 255 < 2^20, whatever the values. */
#ifndef KT_TRIPLE_WEIGHT_GRADIENT_H
#define KT_TRIPLE_WEIGHT_GRADIENT_H

#include "../../product/triple.h"
#include "weight_gradient.h"

/* Pairs of channels that meet a panel, whose sums lie on the stack: fewer where boards have 2 KB of it. */
enum { KT_PANEL_POSITIONS = 32, KT_GRADIENT_PAIRS = KT_ARMV6M ? 8 : 16, KT_FEWEST_POSITIONS = 4 };

/* Words of two output channels, [2][4]: the sums over positions of a panel [positions][4] times gradients, `stride` bytes apart. */
#if KT_ARMV7M
/* r0, r1: panel, gradients; r4-r11: sums. From sp on: the end of fours of positions, words, the end; the stride in front of what is saved. */
#define KT_POSITION \
    "ldrsb r12, [r1]\n\t" \
    "ldrsb lr, [r1, #1]\n\t" \
    "ldrd r2, r3, [r0], #8\n\t" \
    "mla r4, r2, r12, r4\n\t" "mla r5, r3, r12, r5\n\t" "mla r8, r2, lr, r8\n\t" "mla r9, r3, lr, r9\n\t" \
    "ldrd r2, r3, [r0], #8\n\t" \
    "mla r6, r2, r12, r6\n\t" "mla r7, r3, r12, r7\n\t" "mla r10, r2, lr, r10\n\t" "mla r11, r3, lr, r11\n\t" \
    "ldr r2, [sp, #48]\n\t" \
    "add r1, r2\n\t"
static __attribute__((naked, noinline)) void kt_gradient_words(uint32_t *words __attribute__((unused)),
                                                               const uint32_t *panel __attribute__((unused)),
                                                               const uint32_t *end __attribute__((unused)),
                                                               const int8_t *g __attribute__((unused)), int32_t stride __attribute__((unused)))
{
    __asm__ volatile("push {r0, r2, r4-r11, lr}\n\t"
                     "sub r4, r2, r1\n\t"
                     "bic r4, r4, #63\n\t"
                     "add r4, r4, r1\n\t"
                     "push {r4}\n\t"
                     "mov r0, r1\n\t"
                     "mov r1, r3\n\t"
                     "movs r5, #0\n\t" "movs r6, #0\n\t" "movs r7, #0\n\t"
                     "mov r8, r5\n\t" "mov r9, r5\n\t" "mov r10, r5\n\t" "mov r11, r5\n\t"
                     "cmp r0, r4\n\t"
                     "mov r4, r5\n\t"
                     "beq 2f\n\t"
                     "1:\n\t" KT_POSITION KT_POSITION KT_POSITION KT_POSITION
                     "ldr r2, [sp]\n\t"
                     "cmp r0, r2\n\t"
                     "bne 1b\n\t"
                     "2:\n\t"
                     "ldr r2, [sp, #8]\n\t"
                     "cmp r0, r2\n\t"
                     "beq 3f\n\t"
                     KT_POSITION
                     "b 2b\n\t"
                     "3:\n\t"
                     "pop {r2}\n\t"
                     "pop {r0, r2}\n\t"
                     "stm r0, {r4-r11}\n\t"
                     "pop {r4-r11, pc}\n\t");
}
#undef KT_POSITION
#elif KT_ARMV6M
/* One channel. r0, r1, r2: panel, gradients, stride; r3-r6: values, then products; r7: a gradient; r8-r11: sums; r12: the end. */
#define KT_POSITION \
    "movs r7, #0\n\t" \
    "ldrsb r7, [r1, r7]\n\t" \
    "ldmia r0!, {r3-r6}\n\t" \
    "muls r3, r7\n\t" "muls r4, r7\n\t" "muls r5, r7\n\t" "muls r6, r7\n\t" \
    "add r8, r3\n\t" "add r9, r4\n\t" "add r10, r5\n\t" "add r11, r6\n\t" \
    "adds r1, r1, r2\n\t"
static __attribute__((naked, noinline)) void kt_gradient_word(uint32_t *words __attribute__((unused)),
                                                              const uint32_t *panel __attribute__((unused)),
                                                              const uint32_t *end __attribute__((unused)),
                                                              const int8_t *g __attribute__((unused)), int32_t stride __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r0, r4-r7}\n\t"
                     "mov r12, r2\n\t"
                     "ldr r2, [sp, #40]\n\t"
                     "mov r0, r1\n\t"
                     "mov r1, r3\n\t"
                     "movs r3, #0\n\t"
                     "mov r8, r3\n\t" "mov r9, r3\n\t" "mov r10, r3\n\t" "mov r11, r3\n\t"
                     "mov r3, r12\n\t"
                     "subs r3, r3, r0\n\t"
                     "lsls r3, r3, #27\n\t" /* the sign: an odd number of positions */
                     "bpl 1f\n\t"
                     KT_POSITION
                     "cmp r0, r12\n\t"
                     "beq 2f\n\t"
                     "1:\n\t" KT_POSITION KT_POSITION
                     "cmp r0, r12\n\t"
                     "bne 1b\n\t"
                     "2:\n\t"
                     "pop {r0, r4-r7}\n\t"
                     "mov r1, r8\n\t" "mov r2, r9\n\t"
                     "stmia r0!, {r1, r2}\n\t"
                     "mov r1, r10\n\t" "mov r2, r11\n\t"
                     "stmia r0!, {r1, r2}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "pop {r4-r7, pc}\n\t");
}
#undef KT_POSITION

static void kt_gradient_words(uint32_t *words, const uint32_t *panel, const uint32_t *end, const int8_t *g, int32_t stride)
{
    kt_gradient_word(words, panel, end, g, stride);
    kt_gradient_word(words + KT_PANEL_WORDS, panel, end, g + 1, stride);
}
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

/* Six places of a window, the last once more where there are fewer. */
typedef struct {
    int32_t down[KT_POSITIONS], right[KT_POSITIONS]; /* Rows and columns from the window's first to each, */
    int32_t at[KT_POSITIONS];                        /* and values in memory. */
    int32_t bottom, most_right;
    int32_t first; /* in the kernel */
    int32_t count;
    int32_t together; /* whether they are neighbours in memory */
} kt_window_places;

static void kt_find_places(const kt_window *window, int32_t first, kt_window_places *places)
{
    const int32_t depth = window->input[KT_CHANNELS], row = window->kernel[KT_X] * depth;
    int32_t k = first, ky = first / row, kx = (first - ky * row) / depth, channel = first - ky * row - kx * depth;
    int32_t i;
    places->first = first;
    places->count = kt_minimum(kt_kernel_size(window) - first, KT_POSITIONS);
    places->together = 1;
    places->bottom = places->most_right = 0;
    for (i = 0; i < KT_POSITIONS; i++) {
        const int32_t down = ky * window->dilation[KT_Y], right = kx * window->dilation[KT_X];
        places->down[i] = down;
        places->right[i] = right;
        places->at[i] = (down * window->input[KT_X] + right) * depth + channel;
        places->bottom = kt_maximum(places->bottom, down);
        places->most_right = kt_maximum(places->most_right, right);
        places->together &= places->at[i] - places->at[0] == i;
        if (++k >= first + places->count) {
            continue;
        }
        if (++channel == depth) {
            channel = 0;
            if (++kx == window->kernel[KT_X]) {
                kx = 0;
                ky++;
            }
        }
    }
}

/* A position, and the input row and column of its window. */
typedef struct {
    int32_t left; /* columns of the row */
    int32_t iy, ix;
} kt_window_position;

KT_INLINE void kt_next_position(const kt_window *window, kt_window_position *position)
{
    position->ix += window->stride[KT_X];
    if (--position->left == 0) {
        position->left = window->output[KT_X];
        position->ix = -window->pad[KT_X];
        position->iy += window->stride[KT_Y];
    }
}

/* The words of six values; near, far: what takes their zero point away. */
KT_INLINE void kt_put_six(uint32_t *panel, uint32_t v0, uint32_t v1, uint32_t v2, uint32_t v3, uint32_t v4, uint32_t v5, uint32_t near, uint32_t far)
{
    panel[0] = v0 + (v1 << 10) + near;
    panel[1] = v2 + (v1 << 21) + far;
    panel[2] = v3 + (v4 << 10) + near;
    panel[3] = v5 + (v4 << 21) + far;
}

/* Words of six neighbouring channels of an image, at `positions` positions, `depth` bytes apart. */
static const uint32_t *kt_fill_pixel_values(uint32_t *panel, const int8_t *x, int32_t depth, int32_t positions, uint32_t near, uint32_t far)
{
    const uint32_t *const end = panel + KT_PANEL_WORDS * positions;
    for (; panel != end; panel += KT_PANEL_WORDS, x += depth) {
        kt_put_six(panel, (uint32_t)x[0], (uint32_t)x[1], (uint32_t)x[2], (uint32_t)x[3], (uint32_t)x[4], (uint32_t)x[5], near, far);
    }
    return end;
}

/* Words of `positions` positions, from `position` on, with the values' zero point taken away. Returns the end of the panel. */
static const uint32_t *kt_fill_values(const kt_weight_gradient_params *params, const kt_window_places *places, const int8_t *x, uint32_t *panel,
                                      kt_window_position *position, int32_t positions)
{
    const kt_window *const window = &params->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X], depth = window->input[KT_CHANNELS];
    const uint32_t offset = (uint32_t)params->input_offset, near = offset + (offset << 10), far = offset + (offset << 21);
    const int32_t *const at = places->at;
    if (places->together && kt_is_pointwise(window)) {
        const int32_t done = position->iy * width + position->ix;
        position->ix += positions;
        return kt_fill_pixel_values(panel, x + done * depth + at[0], depth, positions, near, far);
    }
    for (; positions > 0; positions--, panel += KT_PANEL_WORDS, kt_next_position(window, position)) {
        const int32_t iy = position->iy, ix = position->ix;
        const int32_t base = (iy * width + ix) * depth;
        uint32_t v0, v1, v2, v3, v4, v5;
        if (iy < 0 || ix < 0 || iy + places->bottom >= height || ix + places->most_right >= width) {
            uint32_t values[KT_POSITIONS];
            int32_t i;
            for (i = 0; i < KT_POSITIONS; i++) {
                const int inside = kt_within(iy + places->down[i], height) && kt_within(ix + places->right[i], width);
                values[i] = inside ? (uint32_t)x[base + at[i]] : 0U - offset;
            }
            v0 = values[0], v1 = values[1], v2 = values[2], v3 = values[3], v4 = values[4], v5 = values[5];
        } else if (places->together) {
            const int8_t *const six = x + base + at[0];
            v0 = (uint32_t)six[0], v1 = (uint32_t)six[1], v2 = (uint32_t)six[2];
            v3 = (uint32_t)six[3], v4 = (uint32_t)six[4], v5 = (uint32_t)six[5];
        } else {
            const int8_t *const from = x + base;
            v0 = (uint32_t)from[at[0]], v1 = (uint32_t)from[at[1]], v2 = (uint32_t)from[at[2]];
            v3 = (uint32_t)from[at[3]], v4 = (uint32_t)from[at[4]], v5 = (uint32_t)from[at[5]];
        }
        kt_put_six(panel, v0, v1, v2, v3, v4, v5, near, far);
    }
    return panel;
}

/* Adds the sums of one panel for pairs of neighbouring channels, the first of each in `pairs`: sums [count][2][6]. */
static void kt_add_panel(const uint32_t *panel, const uint32_t *end, const int8_t *g, int32_t channels, const int32_t *pairs, int32_t count,
                         int32_t *sums)
{
    int32_t pair, i;
    for (pair = 0; pair < count; pair++, sums += 2 * KT_POSITIONS) {
        uint32_t words[2 * KT_PANEL_WORDS];
        kt_gradient_words(words, panel, end, g + pairs[pair], channels);
        for (i = 0; i < 4; i++) {
            int32_t three[3];
            kt_three_sums(words + 2 * i, three);
            sums[3 * i] += three[0];
            sums[3 * i + 1] += three[1];
            sums[3 * i + 2] += three[2];
        }
    }
}

/* The pairs of neighbouring channels from *channel on that hold one which is trained; *channel: behind them. */
static int32_t kt_find_pairs(const kt_weight_gradient_params *params, int32_t *channel, int32_t pairs[KT_GRADIENT_PAIRS])
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t count = 0, c = *channel;
    while (c < channels && count < KT_GRADIENT_PAIRS) {
        if (params->rows != NULL && params->rows[c] < 0) {
            c++;
            continue;
        }
        pairs[count++] = kt_minimum(c, channels - 2);
        c += 2;
    }
    *channel = c;
    return count;
}

/* All places of the window, and all trained channels of two or more. */
static void kt_triple_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale, float *accumulator)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], size = kt_kernel_size(window);
    const int32_t positions = window->output[KT_Y] * window->output[KT_X];
    const kt_float_factor factor = kt_factor_of(scale);
    int32_t sums[KT_GRADIENT_PAIRS * 2 * KT_POSITIONS], pairs[KT_GRADIENT_PAIRS];
    uint32_t panel[KT_PANEL_POSITIONS * KT_PANEL_WORDS];
    kt_window_places places;
    int32_t first, channel, pair, c, done, i;
    for (first = 0; first < size; first += KT_POSITIONS) {
        kt_find_places(window, first, &places);
        for (channel = 0; channel < channels;) {
            int32_t next = channel;
            const int32_t count = kt_find_pairs(params, &channel, pairs);
            kt_window_position position = {window->output[KT_X], -window->pad[KT_Y], -window->pad[KT_X]};
            kt_clear_words(sums, 2 * KT_POSITIONS * count);
            for (done = 0; done < positions && count > 0; done += KT_PANEL_POSITIONS) {
                const uint32_t *const end =
                    kt_fill_values(params, &places, x, panel, &position, kt_minimum(positions - done, KT_PANEL_POSITIONS));
                kt_add_panel(panel, end, g + done * channels, channels, pairs, count, sums);
            }
            for (pair = 0; pair < count; pair++) {
                for (c = pairs[pair]; c < pairs[pair] + 2; c++) {
                    const int32_t *const found = sums + KT_POSITIONS * (2 * pair + c - pairs[pair]);
                    const int32_t row = params->rows == NULL ? c : params->rows[c];
                    float *const entry = accumulator + row * size + first;
                    if (c < next || row < 0) { /* the last pair of an odd number holds one that is done */
                        continue;
                    }
                    next = c + 1;
                    for (i = 0; i < places.count; i++) {
                        entry[i] = kt_add_scaled_sum(entry[i], found[i], &factor);
                    }
                }
            }
        }
    }
}

#endif
