/* packed_conv2d.h: the walk that packed convolutions share. Two neighbouring positions at a time are laid into a panel and multiplied by
 * all channels.
 *
 * Both positions are read before either is written, so that the result may lie as near to x as that of kt_conv2d_s8. */
#ifndef KT_PACKED_CONV2D_H
#define KT_PACKED_CONV2D_H

#include "kt/kernels/packed_convolution.h"
#include "../../product/panel.h"
#include "../../product/product.h"
#include "packed_bias.h"
#include "../window.h"

/* 1 in kernels of layers with a gain, whose starts have their epilogue (packed_gain.h). */
#ifndef KT_WITH_GAIN
#define KT_WITH_GAIN 0
#endif
/* 1 in kernels whose sums start from something else at each of both positions. */
#ifndef KT_STARTS_OF_EACH
#define KT_STARTS_OF_EACH 0
#endif
/* Several products in one file: each kernel has a copy of the walk that calls its own. */
#if KT_WITH_GAIN || KT_STARTS_OF_EACH
#define KT_WALK KT_INLINE
#else
#define KT_WALK static inline
#endif
enum { KT_START_WORDS = KT_QUAD + (KT_WITH_GAIN ? KT_EPILOGUE : KT_STARTS_OF_EACH ? KT_QUAD : 0) }; /* of four channels */

static inline const int32_t *kt_start_of(const kt_packed_conv2d_params *params, const int32_t *bias, int32_t *start)
{
    return kt_packed_bias(bias, params->fold, params->bias_limit, params->window.output[KT_CHANNELS], start);
}

/* The product of one panel with every channel, int8 results. The last quad of channels that are no multiple of 4 is
 * computed beside the result. */
KT_WALK void kt_packed_results(const kt_packed_conv2d_params *params, const int32_t *bias, const void *panel,
                                     int8_t *y, int32_t stride, kt_product_kernel *product)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t whole = channels & -KT_QUAD;
    if (whole > 0) {
        product(y, stride, y + whole, bias, panel, params->pairs, params->stream);
    }
    if (whole < channels) {
        const int32_t *const stream = params->stream + whole / KT_QUAD * (2 * params->pairs + KT_EPILOGUE);
        int8_t quads[2 * KT_QUAD];
        int32_t c;
        const int32_t *const start = bias + whole / KT_QUAD * KT_START_WORDS;
        product(quads, stride == 0 ? 0 : KT_QUAD, quads + KT_QUAD, start, panel, params->pairs, stream);
        for (c = whole; c < channels && stride != 0; c++) {
            y[stride + c] = quads[KT_QUAD + c - whole];
        }
        for (c = whole; c < channels; c++) {
            y[c] = quads[c - whole];
        }
    }
}

enum { KT_START_BLOCK = 32 };

/* One row of a fully connected layer, read where it lies. A trained bias is folded a block of channels at a time. */
KT_INLINE void kt_packed_row(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                             kt_product_kernel *product)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t words = 2 * params->pairs + KT_EPILOGUE;
    kt_packed_conv2d_params block = *params;
    int32_t start[KT_START_BLOCK];
    int32_t c;
    if (params->fold == NULL) {
        kt_packed_results(params, bias, x, y, 0, product);
        return;
    }
    for (c = 0; c < channels; c += KT_START_BLOCK) {
        block.window.output[KT_CHANNELS] = kt_minimum(channels - c, KT_START_BLOCK);
        block.fold = params->fold + c;
        block.stream = params->stream + c / KT_QUAD * words;
        kt_packed_results(&block, kt_start_of(&block, bias + c, start), x, y + c, 0, product);
    }
}

KT_WALK void kt_walk_panels(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                                  void *scratch, kt_product_kernel *product)
{
    const kt_window *const window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t direction = kt_direction(x, y);
    const int32_t step = direction * channels, next = direction * depth;
    const int is_pointwise = kt_is_pointwise(window);
    int32_t *const panel = scratch;
    const int32_t *const start = kt_start_of(params, bias, panel + 2 * params->pairs);
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    const int32_t first = direction > 0 ? 0 : left - 1;
    kt_columns_walk walk;
    const int8_t *run = x + first * depth;
    y += first * channels;
    kt_begin_columns(&walk, window, params->outside, x, direction);
    for (; left > 0; left -= 2, y += 2 * step) {
        if (is_pointwise) { /* of the last position alone the other column is the same */
            kt_fill_runs(panel, run, left > 1 ? run + next : run, depth);
            run += 2 * next;
        } else {
            kt_fill_columns(&walk, panel, left);
        }
        kt_packed_results(params, start, panel, y, left > 1 ? step : 0, product);
    }
}

enum { KT_SMALL_SCRATCH = 160 }; /* words */

/* A function of its own, so that the others do without these words. */
static __attribute__((noinline)) void kt_walk_on_stack(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                                       int8_t *y, kt_product_kernel *product)
{
    int32_t scratch[KT_SMALL_SCRATCH];
    kt_walk_panels(params, x, bias, y, scratch, product);
}

/* scratch: NULL where it is small enough for the stack. */
KT_INLINE void kt_packed_walk(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch, kt_product_kernel *product)
{
    if (scratch == NULL) {
        kt_walk_on_stack(params, x, bias, y, product);
    } else {
        kt_walk_panels(params, x, bias, y, scratch, product);
    }
}

#endif
