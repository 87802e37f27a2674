/* depthwise_conv2d.h: the sums and the walk of depthwise convolutions, one position after the other. */
#ifndef KT_DEPTHWISE_CONV2D_H
#define KT_DEPTHWISE_CONV2D_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "../../product/short_blocks.h"
#include "../window.h"

/* The taps of one position inside the input, and where they start: input value and tap number. */
typedef struct {
    int32_t rows, columns;
    int32_t x, tap;
} kt_depthwise_patch;

/* sum over the taps of one channel; x points to the first value, w to the channel's weight at tap 0, `step` weights
 * apart from tap to tap. */
static inline int32_t kt_depthwise_sum(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x,
                                       const int8_t *w, int32_t step, int32_t offset)
{
    const int32_t step_x = window->dilation[KT_X] * window->input[KT_CHANNELS];
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t row_w = window->kernel[KT_X] * step;
    int32_t sum = 0;
    int32_t ky, kx;
    for (ky = 0; ky < patch->rows; ky++) {
        int32_t at_x = ky * row_x;
        int32_t at_w = patch->tap * step + ky * row_w;
        for (kx = 0; kx < patch->columns; kx++) {
            sum += w[at_w] * (x[at_x] + offset);
            at_x += step_x;
            at_w += step;
        }
    }
    return sum;
}

#if KT_SMALL_DSP
/* sums[i] += w[i] * (x[i] + offset) of `count` neighbouring channels, a multiple of 4; offsets: the same in both halves. */
static __attribute__((noinline)) void kt_depthwise_add_tap(const int8_t *x, const int8_t *w, uint32_t offsets, int32_t count, int32_t *sums)
{
    const int8_t *const end = x + count;
    __asm__ volatile("1:\n\t"
                     "ldr r3, [%[x]], #4\n\t"
                     "ldr r4, [%[w]], #4\n\t"
                     "sxtab16 r5, %[offsets], r3, ror #8\n\t"
                     "sxtab16 r3, %[offsets], r3\n\t"
                     "sxtb16 r6, r4, ror #8\n\t"
                     "sxtb16 r4, r4\n\t"
                     "ldm %[sums], {r8, r9, r10, r12}\n\t"
                     "smlabb r8, r3, r4, r8\n\t"
                     "smlabb r9, r5, r6, r9\n\t"
                     "smlatt r10, r3, r4, r10\n\t"
                     "smlatt r12, r5, r6, r12\n\t"
                     "stm %[sums]!, {r8, r9, r10, r12}\n\t"
                     "cmp %[x], %[end]\n\t"
                     "bne 1b"
                     : [x] "+r"(x), [w] "+r"(w), [sums] "+r"(sums)
                     : [end] "r"(end), [offsets] "r"(offsets)
                     : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "cc", "memory");
}

/* The same sums as kt_depthwise_sum of `count` neighbouring channels, a multiple of 4, of a layer whose channels have one result each. */
static inline void kt_depthwise_sums(const kt_window *window, const kt_depthwise_patch *patch, const int8_t *x, const int8_t *w,
                                     uint32_t offsets, int32_t count, int32_t *sums)
{
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t step_x = window->dilation[KT_X] * channels;
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * channels - patch->columns * step_x;
    const int32_t row_w = (window->kernel[KT_X] - patch->columns) * channels;
    int32_t ky, kx;
    memset(sums, 0, (size_t)count * sizeof *sums);
    w += patch->tap * channels;
    for (ky = patch->rows; ky > 0; ky--) {
        for (kx = patch->columns; kx > 0; kx--) {
            kt_depthwise_add_tap(x, w, offsets, count, sums);
            x += step_x;
            w += channels;
        }
        x += row_x;
        w += row_w;
    }
}
#endif

/* All channels of one position. */
typedef void kt_depthwise_at(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                             const int32_t *bias, int8_t *y);

#ifndef KT_SMALL
static inline int8_t kt_depthwise_result(const kt_depthwise_conv2d_params *params, int32_t total, int32_t c)
{
    const int32_t scaled = kt_requantize(total, params->multiplier[c], params->shift[c]);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}
#endif

#ifdef KT_SMALL
static inline void kt_depthwise_position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch,
                                         const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_results results = kt_results_of(params->multiplier, params->shift, params->output_offset, params->clamp);
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    int32_t sums[KT_SHORT_BLOCK];
    int32_t first, i, copy = 0;
    x += patch->x;
    for (first = 0; first < channels; first += KT_SHORT_BLOCK) {
        const int32_t count = kt_minimum(channels - first, KT_SHORT_BLOCK);
        i = 0;
#if KT_SMALL_DSP
        if (params->depth_multiplier == 1 && count >= 4) {
            i = count & ~3;
            kt_depthwise_sums(window, patch, x, params->weights + first, (uint16_t)params->input_offset * UINT32_C(0x00010001), i, sums);
            x += i;
        }
#endif
        for (; i < count; i++) {
            sums[i] = kt_depthwise_sum(window, patch, x, params->weights + (first + i), channels, params->input_offset);
            if (++copy == params->depth_multiplier) {
                copy = 0;
                x++;
            }
        }
        kt_finish_block(&results, sums, bias, first, count, y);
    }
}
#else
static inline void kt_depthwise_position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch,
                                         const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    const int32_t step = window->output[KT_CHANNELS];
    int32_t c = 0;
    int32_t channel = 0;
    int32_t copy;
    for (; channel < window->input[KT_CHANNELS]; channel++) {
        const int8_t *values = x + (patch->x + channel);
        for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
            const int64_t total = kt_depthwise_sum(window, patch, values, params->weights + c, step, params->input_offset);
            y[c] = kt_depthwise_result(params, kt_saturate32(total + bias[c]), c);
        }
    }
}
#endif

static inline void kt_depthwise_walk(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                     int8_t *y, kt_depthwise_at *at)
{
    const kt_window *window = &params->window;
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            kt_depthwise_patch patch;
            patch.rows = rows.count;
            patch.columns = columns.count;
            patch.x = (rows.index * window->input[KT_X] + columns.index) * window->input[KT_CHANNELS];
            patch.tap = rows.first * window->kernel[KT_X] + columns.first;
            at(params, &patch, x, bias, y + (oy * width + ox) * window->output[KT_CHANNELS]);
        }
    }
}

#endif
