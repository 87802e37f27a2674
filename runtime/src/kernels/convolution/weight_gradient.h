/* weight_gradient.h: the gradient of weights, tap by tap.
 *
 * The sum over all positions must be exact before it meets the accumulator, so the kernel is cut into blocks of
 * neighbouring taps whose int32 sums fit on the stack; each block walks all positions once. Positions with a zero
 * gradient cost one load. Then one float32 rounding for each operation. */
#ifndef KT_WEIGHT_GRADIENT_H
#define KT_WEIGHT_GRADIENT_H

#include "kt/kernels/convolution.h"
#include <stddef.h>

#include "../parameter/parameter_gradient.h"
#include "../window.h"

#if KT_SMALL_DSP
enum { KT_WEIGHT_BLOCK = 4 }; /* sums in registers */
#else
enum { KT_WEIGHT_BLOCK = 32 };
#endif

/* A block: `count` values from `first` on of a span of taps; the span starts at tap (ky, kx). */
typedef struct {
    int32_t ky, kx;
    int32_t first, count;
} kt_weight_block;

/* sums[i] += g * (x + offset) for the part of a block inside the image row; start: index in the row of the span's
 * first value (negative left of the image), length: values in the row. */
static inline void kt_weight_add_position(const kt_weight_block *block, const int8_t *row, int32_t start,
                                          int32_t length, int32_t g, int32_t offset, int32_t *sums)
{
    const int32_t base = start + block->first;
    const int32_t low = kt_maximum(base, 0);
    const int32_t high = kt_minimum(base + block->count, length);
    int32_t i;
    for (i = low; i < high; i++) {
        sums[i - base] += g * (row[i] + offset);
    }
}

#if KT_SMALL_DSP
/* sums[i] += sum of g * (x[i] + offset), i in [0, 4), over `count` positions, `step_g` and `step_x` values apart. */
static __attribute__((noinline)) void kt_weight_add_run(const int8_t *g, int32_t step_g, const int8_t *x, int32_t step_x, int32_t count,
                                                        uint32_t offsets, int32_t sums[4])
{
    int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
    uint32_t even, odd;
    int32_t value;
    __asm__ volatile("1:\n\t"
                     "ldr %[even], [%[x]]\n\t"
                     "ldrsb %[value], [%[g]]\n\t"
                     "add %[x], %[step_x]\n\t"
                     "sxtab16 %[odd], %[offsets], %[even], ror #8\n\t"
                     "sxtab16 %[even], %[offsets], %[even]\n\t"
                     "add %[g], %[step_g]\n\t"
                     "smlabb %[sum0], %[value], %[even], %[sum0]\n\t"
                     "smlabb %[sum1], %[value], %[odd], %[sum1]\n\t"
                     "smlabt %[sum2], %[value], %[even], %[sum2]\n\t"
                     "smlabt %[sum3], %[value], %[odd], %[sum3]\n\t"
                     "subs %[count], %[count], #1\n\t"
                     "bne 1b"
                     : [g] "+r"(g), [x] "+r"(x), [count] "+r"(count), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2),
                       [sum3] "+r"(sum3), [even] "=&r"(even), [odd] "=&r"(odd), [value] "=&r"(value)
                     : [step_g] "r"(step_g), [step_x] "r"(step_x), [offsets] "r"(offsets)
                     : "cc", "memory");
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

/* Sums of one block over all positions; g points to the gradient of the output channel at the first position. */
static inline void kt_weight_sum_block(const kt_weight_gradient_params *params, const kt_weight_block *block,
                                       const int8_t *g, const int8_t *x, int32_t *sums)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t left = (block->kx * window->dilation[KT_X] - window->pad[KT_X]) * depth;
    const int32_t step = window->stride[KT_X] * depth;
    int32_t length = window->input[KT_X] * depth;
    int32_t height = window->output[KT_Y];
    int32_t width = window->output[KT_X];
    int32_t iy = block->ky * window->dilation[KT_Y] - window->pad[KT_Y];
    int32_t oy, ox;
    if (KT_SMALL_DSP && kt_is_pointwise(window)) { /* all positions are one row */
        length *= height;
        width *= height;
        height = 1;
    }
    for (oy = 0; oy < height; oy++, iy += window->stride[KT_Y]) {
        const int8_t *gradient = g + oy * width * channels;
        int32_t start = left;
        if (iy < 0 || iy >= window->input[KT_Y]) {
            continue;
        }
        for (ox = 0; ox < width; ox++, start += step) {
            const int32_t value = gradient[ox * channels];
#if KT_SMALL_DSP
            const int32_t base = start + block->first, last = length - KT_WEIGHT_BLOCK - base;
            if (base >= 0 && last >= 0) {
                const int32_t more = kt_minimum(width - 1 - ox, last / step);
                kt_weight_add_run(gradient + ox * channels, channels, x + (iy * length + base), step, more + 1,
                                  (uint16_t)params->input_offset * UINT32_C(0x00010001), sums);
                ox += more;
                start += more * step;
                continue;
            }
#endif
            if (value != 0) {
                kt_weight_add_position(block, x + iy * length, start, length, value, params->input_offset, sums);
            }
        }
    }
}

/* All of one span of taps (a kernel row, or one tap where the window is dilated), `size` values. */
static inline void kt_weight_add_span(const kt_weight_gradient_params *params, kt_weight_block block, int32_t size,
                                      const int8_t *g, const int8_t *x, float scale, float *accumulator)
{
    int32_t sums[KT_WEIGHT_BLOCK];
    int32_t i;
    for (block.first = 0; block.first < size; block.first += KT_WEIGHT_BLOCK) {
        block.count = kt_minimum(size - block.first, KT_WEIGHT_BLOCK);
        memset(sums, 0, sizeof sums);
        kt_weight_sum_block(params, &block, g, x, sums);
        for (i = 0; i < block.count; i++) {
            float *entry = accumulator + block.first + i;
            *entry = kt_accumulate(*entry, sums[i], scale);
        }
    }
}

/* Every trained channel; scale: with the exponents. */
static inline void kt_weight_gradient_walk(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                           float scale, float *accumulator)
{
    const kt_window *window = &params->window;
    const int32_t taps = window->dilation[KT_X] == 1 ? window->kernel[KT_X] : 1;
    const int32_t size = taps * window->input[KT_CHANNELS];
    kt_weight_block block = {0, 0, 0, 0};
    int32_t c;
    for (c = 0; c < window->output[KT_CHANNELS]; c++) {
        if (params->rows != NULL && params->rows[c] < 0) {
            continue;
        }
        for (block.ky = 0; block.ky < window->kernel[KT_Y]; block.ky++) {
            for (block.kx = 0; block.kx < window->kernel[KT_X]; block.kx += taps) {
                kt_weight_add_span(params, block, size, g + c, x, scale, accumulator);
                accumulator += size;
            }
        }
    }
}

#endif
