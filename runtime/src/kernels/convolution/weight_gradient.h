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

enum { KT_WEIGHT_BLOCK = 32 };

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

/* Sums of one block over all positions; g points to the gradient of the output channel at the first position. */
static inline void kt_weight_sum_block(const kt_weight_gradient_params *params, const kt_weight_block *block,
                                       const int8_t *g, const int8_t *x, int32_t *sums)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t length = window->input[KT_X] * depth;
    const int32_t left = (block->kx * window->dilation[KT_X] - window->pad[KT_X]) * depth;
    const int32_t step = window->stride[KT_X] * depth;
    int32_t iy = block->ky * window->dilation[KT_Y] - window->pad[KT_Y];
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++, iy += window->stride[KT_Y]) {
        const int8_t *gradient = g + oy * window->output[KT_X] * channels;
        int32_t start = left;
        if (iy < 0 || iy >= window->input[KT_Y]) {
            continue;
        }
        for (ox = 0; ox < window->output[KT_X]; ox++, start += step) {
            const int32_t value = gradient[ox * channels];
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
