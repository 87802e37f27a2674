/* transposed_gradient.h: the gradient of a convolution to its input as a product with transposed weights.
 *
 * The pre-scaled gradients that an input position meets, tap by tap with 0 where a window is not there, are one run of values, and
 * so are the transposed weights of an input channel. Two positions are taken at a time. The pre-scaling is a VQRDMULH of
 * g * 2^(15 - p): (g * 2^(15 - p) * m + 2^14) >> 15 = (g * m + 2^(p - 1)) >> p. */
#ifndef KT_TRANSPOSED_GRADIENT_H
#define KT_TRANSPOSED_GRADIENT_H

#include "kt/kernels/convolution.h"
#include "../conv2d_input_gradient.h"
#include "dot_wide.h"
#include "../../../product/halves.h"
#include "../../mve/gradient_lanes.h"
#include "../../mve/lanes.h"

enum {
    KT_RUN = 640,       /* products of one sum: taps * output channels */
    KT_INPUTS = 48      /* input channels whose sums are kept, a multiple of three */
};

/* Whether the layer has what this needs. */
static inline int kt_is_transposed(const kt_conv2d_input_gradient_params *params)
{
    const kt_window *window = &params->window;
    const int32_t run = window->kernel[KT_Y] * window->kernel[KT_X] * window->output[KT_CHANNELS];
    const int32_t p = params->prescale_shift;
    return params->transposed != NULL && p >= 7 && p <= 15 && run <= KT_RUN;
}

/* One window's gradients, pre-scaled. */
static inline void kt_prescale_lanes(const int8_t *g, const int16_t *m, int32_t left, int32_t channels, int16_t *scaled)
{
    __asm__ volatile("dlstp.16 lr, %[channels]\n"
                     "1:\n\t"
                     "vldrb.s16 q0, [%[g]], #8\n\t"
                     "vldrh.16 q1, [%[m]], #16\n\t"
                     "vshl.s16 q0, %[left]\n\t"
                     "vqrdmulh.s16 q0, q0, q1\n\t"
                     "vstrh.16 q0, [%[scaled]], #16\n\t"
                     "letp lr, 1b\n"
                     : [g] "+l"(g), [m] "+r"(m), [scaled] "+r"(scaled)
                     : [left] "r"(left), [channels] "r"(channels)
                     : "lr", "q0", "q1", "memory");
}

/* The run of the position (y, x); returns how many windows it meets. */
static inline int32_t kt_fill_run(const kt_conv2d_input_gradient_params *params, const int8_t *g, int32_t y, int32_t x,
                                  int16_t *run)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t columns = window->kernel[KT_X];
    const int32_t left = 15 - params->prescale_shift;
    int32_t ky, kx, met = 0;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t oy = kt_output_at(window, KT_Y, y, ky);
        const int8_t *row = g + oy * window->output[KT_X] * channels;
        if (oy < 0) {
            kt_fill_lanes((int8_t *)run, 0, 2 * columns * channels);
            run += columns * channels;
            continue;
        }
        for (kx = 0; kx < columns; kx++, run += channels) {
            const int32_t ox = kt_output_at(window, KT_X, x, kx);
            if (ox < 0) {
                kt_fill_lanes((int8_t *)run, 0, 2 * channels);
            } else {
                kt_prescale_lanes(row + ox * channels, params->prescale, left, channels, run);
                met++;
            }
        }
    }
    return met;
}

/* dx of `count` input channels from their sums. */
static inline void kt_finish_gradient(const int32_t *sums, int32_t count, int32_t shift, int8_t *dx)
{
    int32_t k = 0;
    for (; k + 4 <= count; k += 4) {
        vstrbq_s32(dx + k, kt_saturate_lanes(kt_shift_round_lanes(vldrwq_s32(sums + k), shift)));
    }
    if (k < count) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - k));
        vstrbq_p_s32(dx + k, kt_saturate_lanes(kt_shift_round_lanes(vldrwq_z_s32(sums + k, rest), shift)), rest);
    }
}

/* Up to two positions: where their results go, and which they are. */
typedef struct {
    int8_t *dx[2];
    int32_t y[2], x[2];
    int32_t count;
} kt_held;

/* What a trained path does: keep what it needs of position `slot` before anything is written, and add its share to the sums of `count` input
 * channels from `first` on. NULL for a layer without one. */
typedef void kt_keep_gradients(void *path, const kt_held *held, int32_t slot);
typedef void kt_add_share(const void *path, int32_t slot, int32_t first, int32_t count, int32_t *sums);

/* dx of the positions from their runs. */
KT_INLINE void kt_transposed_product(const kt_conv2d_input_gradient_params *params, const int16_t *run0,
                                         const int16_t *run1, const kt_held *held, const void *path, kt_add_share *add)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t size = window->kernel[KT_Y] * window->kernel[KT_X] * window->output[KT_CHANNELS];
    int32_t sums[2][KT_INPUTS];
    int32_t first, k;
    for (first = 0; first < channels; first += KT_INPUTS) {
        const int32_t count = kt_minimum(channels - first, KT_INPUTS);
        const int32_t threes = count / 3 * 3;
        const int8_t *w = params->transposed + first * size;
        if (threes > 0) {
            kt_dot_wide_block block;
            block.x0 = run0;
            block.x1 = run1;
            block.w = w;
            block.size = size;
            block.sums0 = sums[0];
            block.sums1 = sums[1];
            block.end = sums[0] + threes;
            kt_dot_wide(&block);
        }
        for (k = threes; k < count; k++) {
            sums[0][k] = kt_dot_wide_one(run0, w + k * size, size);
            sums[1][k] = kt_dot_wide_one(run1, w + k * size, size);
        }
        for (k = 0; k < held->count; k++) {
            if (path != NULL) {
                add(path, k, first, count, sums[k]);
            }
            kt_finish_gradient(sums[k], count, params->shift, held->dx[k] + first);
        }
    }
}

KT_INLINE void kt_transposed_input_gradient(const kt_conv2d_input_gradient_params *params, const int8_t *g, int8_t *dx,
                                            void *path, kt_keep_gradients *keep, kt_add_share *add)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t width = window->input[KT_X];
    const int32_t positions = window->input[KT_Y] * width;
    const int32_t direction = kt_direction(g, dx);
    int16_t runs[2][KT_RUN];
    int32_t y = kt_first(direction, window->input[KT_Y]);
    int32_t x = kt_first(direction, width);
    kt_held held;
    int32_t n;
    held.count = 0;
    for (n = 0; n < positions; n++) {
        int8_t *const result = dx + (y * width + x) * channels;
        if (kt_fill_run(params, g, y, x, runs[held.count]) > 0) {
            held.dx[held.count] = result;
            held.y[held.count] = y;
            held.x[held.count] = x;
            if (path != NULL) {
                keep(path, &held, held.count);
            }
            held.count++;
        } else {
            kt_fill_lanes(result, 0, channels);
        }
        if (held.count == 2 || (held.count == 1 && n + 1 == positions)) {
            kt_transposed_product(params, runs[0], runs[held.count - 1], &held, path, add);
            held.count = 0;
        }
        x += direction;
        if (!kt_within(x, width)) {
            x = kt_first(direction, width);
            y += direction;
        }
    }
}

#endif
