/* conv2d_lanes.h: the walk of convolutions on cores with Helium, two positions at a time.
 *
 * The values under a window are multiplied as they are stored, with their zero point; input_offset times the sum of the
 * channel's weights is where each sum starts. That needs all of a window: where it is not one piece of memory inside the
 * image (and where the result lies over the image), its values are copied to a panel, with the zero point in the border.
 * Sums of up to CHUNK channels wait on the stack to be requantised, four channels at a time. */
#ifndef KT_CONV2D_LANES_H
#define KT_CONV2D_LANES_H

#include <stddef.h>

#include "../window.h"
#include "dot.h"
#include "finish.h"

enum {
    KT_PANEL = 576,    /* values under a window (3x3x64) up to which two positions are taken at a time */
    KT_CHUNK = 64      /* channels whose sums are kept */
};

/* What does not change from position to position. */
typedef struct {
    const kt_conv2d_params *params;
    const int32_t *initial;    /* of the chunk: input_offset * sum of the weights */
    int32_t size;              /* values under a window */
    int32_t first, count;      /* channels of the chunk */
} kt_conv2d_chunk;

/* Nothing is copied: each window is one piece inside the image. */
static inline int kt_windows_are_pieces(const kt_window *window)
{
    int axis;
    for (axis = KT_Y; axis <= KT_X; axis++) {
        const int32_t last = (window->output[axis] - 1) * window->stride[axis] - window->pad[axis];
        if (window->kernel[axis] != 1 || window->pad[axis] > 0 || last >= window->input[axis]) {
            return 0;
        }
    }
    return 1;
}

/* Rows of a patch into a panel, whose rows are row_w apart. */
static inline void kt_copy_patch(const kt_patch *patch, const int8_t *x, int8_t *panel)
{
    const int8_t *from = x + patch->x;
    int8_t *to = panel + patch->w;
    int32_t row, span;
    for (row = patch->rows; row > 0; row--) {
        for (span = 0; span < patch->spans; span++) {
            kt_copy_lanes(to + span * patch->span_w, from + span * patch->span_x, patch->length);
        }
        from += patch->row_x;
        to += patch->row_w;
    }
}

/* The values under the window at column ox, in the order of the weights; rows: its taps inside the image. */
static inline void kt_fill_panel(const kt_conv2d_params *params, const kt_taps *rows, int32_t ox, const int8_t *x,
                                 int32_t size, int8_t *panel)
{
    const kt_window *window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t height = window->kernel[KT_Y];
    const int32_t width = window->kernel[KT_X];
    const int32_t start = ox * window->stride[KT_X] - window->pad[KT_X];
    const int inside = start >= 0 && start + width <= window->input[KT_X] && rows->count == height;
    if (inside && window->dilation[KT_X] == 1) {
        const int8_t *from = x + (rows->index * window->input[KT_X] + start) * depth;
        const int32_t step = window->dilation[KT_Y] * window->input[KT_X] * depth;
        const int32_t length = width * depth;
        int32_t row;
        for (row = height; row > 0; row--) {
            kt_copy_lanes(panel, from, length);
            panel += length;
            from += step;
        }
    } else {
        const kt_patch patch = kt_patch_of(window, *rows, kt_taps_at(window, KT_X, ox));
        kt_fill_lanes(panel, -params->input_offset, size);
        kt_copy_patch(&patch, x, panel);
    }
}

/* input_offset * sum of the weights of `count` channels from w on. */
static inline void kt_initial_sums(const int8_t *w, int32_t size, int32_t count, int32_t offset, int32_t *initial)
{
    int32_t c;
    for (c = 0; c < count; c++) {
        initial[c] = offset * kt_sum_lanes(w + c * size, size);
    }
}

static inline void kt_chunk_sums_of_two(const kt_conv2d_chunk *chunk, const int8_t *const x[2], int32_t (*sums)[KT_CHUNK])
{
    const int32_t size = chunk->size;
    const int8_t *w = chunk->params->weights + chunk->first * size;
    const int32_t threes = chunk->count / 3 * 3;
    int32_t c;
    if (threes > 0) {
        kt_dot_block block;
        block.x0 = x[0];
        block.x1 = x[1];
        block.w = w;
        block.size = size;
        block.initial = chunk->initial;
        block.sums0 = sums[0];
        block.sums1 = sums[1];
        block.end = sums[0] + threes;
        kt_dot_three_by_two(&block);
    }
    for (c = threes, w += threes * size; c < chunk->count; c++, w += size) {
        kt_dot_one_by_two(x[0], x[1], w, size, chunk->initial[c], sums[0] + c, sums[1] + c);
    }
}

static inline void kt_chunk_sums_of_one(const kt_conv2d_chunk *chunk, const int8_t *x, int32_t *sums)
{
    const int32_t size = chunk->size;
    const int8_t *w = chunk->params->weights + chunk->first * size;
    int32_t c = 0;
    for (; c + 4 <= chunk->count; c += 4, w += 4 * size) {
        kt_dot_four(x, w, size, chunk->initial + c, sums + c);
    }
    for (; c < chunk->count; c++, w += size) {
        sums[c] = kt_dot_one(x, w, size, chunk->initial[c]);
    }
}

#endif
