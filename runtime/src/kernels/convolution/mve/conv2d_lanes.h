/* conv2d_lanes.h: the walk of convolutions on cores with Helium, two positions at a time.
 *
 * The values under a window are multiplied as they are stored, with their zero point; input_offset times the sum of the
 * channel's weights is where each sum starts. That needs all of a window: where it is not one piece of memory inside the
 * image (and where the result lies over the image), its values are copied to a panel, with the zero point in the border.
 * Windows larger than a panel are copied and multiplied in parts. Sums of up to KT_CHUNK channels wait on the stack to be
 * requantised, four channels at a time. */
#ifndef KT_CONV2D_LANES_H
#define KT_CONV2D_LANES_H

#include "kt/kernels/convolution.h"
#include <stddef.h>

#include "../../window.h"
#include "../../mve/dot.h"
#include "../../mve/finish.h"

enum {
    KT_LANES = 16,
    KT_PANEL_VALUES = 576, /* values under a window (3x3x64) up to which two positions are taken at a time */
    KT_CHUNK = 64,         /* channels whose sums are kept */
    KT_HELD = 512,         /* channels of a position whose results may wait */
    KT_SAFE_SUM = 32768    /* values under a window whose sum is below 2^30: 255 * 128 each */
};

/* A layer; what a trained layer adds to the sums is up to its kernel. */
typedef struct {
    const kt_conv2d_params *params;
    const int32_t *initial;    /* input_offset * sum of the weights of each channel; NULL: found for each chunk again */
    int32_t size;              /* values under a window */
    kt_finish finish;
    const void *trained;
    int whole;                 /* what is trained reads all values under a window at once */
} kt_conv2d_layer;

/* One or two positions: the values under their windows, their results and their numbers. */
typedef struct {
    int32_t count;
    const int8_t *x[2];
    int8_t *y[2];
    int32_t number[2];
} kt_conv2d_positions;

/* Adds to the sums of `count` channels from the first on, of each position KT_CHUNK sums. */
typedef void kt_addend_lanes(const kt_conv2d_layer *layer, const kt_conv2d_positions *positions, int32_t first,
                             int32_t count, int32_t (*sums)[KT_CHUNK]);

/* A trained product of four channels in accumulator units. Sums of at most KT_SAFE_SUM values and it do not leave int32. */
static inline int32x4_t kt_addend_of(int32x4_t product, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t scaled = kt_requantize_lanes(product, multiplier, shift);
    return vminq_s32(vmaxq_s32(scaled, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
}

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

/* `rows` rows of up to 16 values, to_step and from_step apart. */
static inline void kt_copy_short_rows(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t rows, int32_t length)
{
    __asm__ volatile("vctp.8 %[length]\n\t"
                     "wls lr, %[rows], 2f\n"
                     "1:\n\t"
                     "vpstt\n\t"
                     "vldrbt.8 q0, [%[from]]\n\t"
                     "vstrbt.8 q0, [%[to]]\n\t"
                     "add %[from], %[from], %[from_step]\n\t"
                     "add %[to], %[to], %[to_step]\n\t"
                     "le lr, 1b\n"
                     "2:\n"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [rows] "r"(rows), [length] "r"(length), [from_step] "r"(from_step), [to_step] "r"(to_step)
                     : "lr", "q0", "memory");
}

/* Rows of a patch into a panel, whose rows are row_w apart. */
static inline void kt_copy_patch(const kt_patch *patch, const int8_t *x, int8_t *panel)
{
    const int8_t *from = x + patch->x;
    int8_t *to = panel + patch->w;
    int32_t row, span;
    if (patch->spans == 1 && patch->length <= KT_LANES) {
        kt_copy_short_rows(to, patch->row_w, from, patch->row_x, patch->rows, patch->length);
        return;
    }
    for (row = patch->rows; row > 0; row--) {
        for (span = 0; span < patch->spans; span++) {
            kt_copy_lanes(to + span * patch->span_w, from + span * patch->span_x, patch->length);
        }
        from += patch->row_x;
        to += patch->row_w;
    }
}

/* What the windows of one row of results have in common. */
typedef struct {
    kt_taps taps;            /* inside the image, along the height */
    const int8_t *from;      /* the first of them, at column 0 of the image */
    int32_t last;            /* column where the last window starts that lies inside; -1: none does, or taps are apart */
    int32_t length, step;    /* values of a kernel row, and from row to row of the image */
} kt_panel_row;

static inline kt_panel_row kt_panel_row_at(const kt_window *window, const int8_t *x, int32_t oy)
{
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t line = window->input[KT_X] * depth;
    kt_panel_row row;
    row.taps = kt_taps_at(window, KT_Y, oy);
    row.from = x + row.taps.index * line;
    row.last = window->input[KT_X] - window->kernel[KT_X];
    if (row.taps.count != window->kernel[KT_Y] || window->dilation[KT_X] != 1 || row.last < 0) {
        row.last = -1;
    }
    row.length = window->kernel[KT_X] * depth;
    row.step = window->dilation[KT_Y] * line;
    return row;
}

/* The values under the window at column ox, in the order of the weights, with `outside` in the border. */
static inline void kt_fill_panel(const kt_window *window, int32_t outside, const kt_panel_row *row, int32_t ox, const int8_t *x,
                                 int32_t size, int8_t *panel)
{
    const int32_t start = ox * window->stride[KT_X] - window->pad[KT_X];
    if (start >= 0 && start <= row->last) {
        const int8_t *from = row->from + start * window->input[KT_CHANNELS];
        const int32_t length = row->length;
        const int32_t step = row->step;
        int32_t n;
        if (length <= KT_LANES) {
            kt_copy_short_rows(panel, length, from, step, row->taps.count, length);
            return;
        }
        for (n = row->taps.count; n > 0; n--) {
            kt_copy_lanes(panel, from, length);
            panel += length;
            from += step;
        }
    } else {
        const kt_patch patch = kt_patch_of(window, row->taps, kt_taps_at(window, KT_X, ox));
        kt_fill_lanes(panel, outside, size);
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

/* q0, q1, q4 and q2, q3, q5: the 33 to 48 values at each of two positions whose addresses lie at x; rest: how many are beyond 32. */
#define KT_HOLD_THREE_VECTORS \
    "vctp.8 %[rest]\n\t" \
    "ldrd %[a], %[b], [%[x]]\n\t" \
    "vldrb.8 q0, [%[a]]\n\t" \
    "vldrb.8 q1, [%[a], #16]\n\t" \
    "vldrb.8 q2, [%[b]]\n\t" \
    "vldrb.8 q3, [%[b], #16]\n\t" \
    "vpstt\n\t" \
    "vldrbt.8 q4, [%[a], #32]\n\t" \
    "vldrbt.8 q5, [%[b], #32]\n\t"

/* Sums of 33 to 48 products of `count` channels at two positions, whose values stay in registers. Of layers with
 * something trained: others have conv2d_short.h. */
static __attribute__((noinline, unused)) void kt_dot_held(const int8_t *const *x, const int8_t *w, int32_t size, int32_t count,
                                                          const int32_t *initial, int32_t *sums)
{
    int32_t a, b;
    __asm__ volatile(KT_HOLD_THREE_VECTORS
                     "wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "ldr %[a], [%[initial]], #4\n\t"
                     "vldrb.8 q6, [%[w]]\n\t"
                     "mov %[b], %[a]\n\t"
                     "vldrb.8 q7, [%[w], #16]\n\t"
                     "vmladava.s8 %[a], q0, q6\n\t"
                     "vmladava.s8 %[b], q2, q6\n\t"
                     "vpst\n\t"
                     "vldrbt.8 q6, [%[w], #32]\n\t"
                     "add %[w], %[w], %[size]\n\t"
                     "vmladava.s8 %[a], q1, q7\n\t"
                     "vmladava.s8 %[b], q3, q7\n\t"
                     "vmladava.s8 %[a], q4, q6\n\t"
                     "vmladava.s8 %[b], q5, q6\n\t"
                     "str %[a], [%[sums]], #4\n\t"
                     "str %[b], [%[sums], #252]\n\t"     /* 4 * KT_CHUNK - 4 */
                     "le lr, 1b\n"
                     "2:\n"
                     : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [sums] "+r"(sums), [initial] "+r"(initial)
                     : [x] "r"(x), [size] "r"(size), [rest] "r"(size - 2 * KT_LANES), [count] "r"(count)
                     : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* Sums of `size` products of `count` channels, w the weights of the first, `step` to the next, at one or two positions. */
static inline void kt_sums_of(const kt_conv2d_positions *at, const int8_t *w, int32_t size, int32_t step, int32_t count,
                              const int32_t *initial, int32_t (*sums)[KT_CHUNK])
{
    const int32_t blocked = at->count == 2 ? count / 3 * 3 : count & ~3;
    int32_t c;
    if (blocked > 0) {
        kt_dot_block block;
        block.x0 = at->x[0];
        block.x1 = at->x[1];
        block.w = w;
        block.size = size;
        block.step = step;
        block.initial = initial;
        block.sums0 = sums[0];
        block.sums1 = sums[1];
        block.end = sums[0] + blocked;
        if (at->count == 2) {
            kt_dot_three_by_two(&block);
        } else {
            kt_dot_four(&block);
        }
    }
    for (c = blocked, w += blocked * step; c < count; c++, w += step) {
        if (at->count == 2) {
            kt_dot_one_by_two(at->x[0], at->x[1], w, size, initial[c], sums[0] + c, sums[1] + c);
        } else {
            sums[0][c] = kt_dot_one(at->x[0], w, size, initial[c]);
        }
    }
}

static inline void kt_sums_at(const kt_conv2d_positions *at, const int8_t *w, int32_t size, int32_t count,
                              const int32_t *initial, int32_t (*sums)[KT_CHUNK])
{
    kt_sums_of(at, w, size, size, count, initial, sums);
}

/* Values [start, start + length) of those under a window, in the order of the weights. */
static inline void kt_fill_part(const kt_patch *patch, const int8_t *x, int32_t start, int32_t length, int32_t outside,
                                int8_t *panel)
{
    int32_t row, span;
    kt_fill_lanes(panel, outside, length);
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int32_t at = patch->w + row * patch->row_w + span * patch->span_w - start;
            const int32_t low = kt_maximum(at, 0), high = kt_minimum(at + patch->length, length);
            if (low < high) {
                kt_copy_lanes(panel + low, x + (patch->x + row * patch->row_x + span * patch->span_x + (low - at)), high - low);
            }
        }
    }
}

/* The sums of windows larger than a panel: part by part, each copied to the panels that `at` names. patches: of the positions. */
static inline void kt_sums_of_parts(const kt_conv2d_layer *layer, const kt_conv2d_positions *at, const kt_patch *patches,
                                    const int8_t *x, const int8_t *w, int32_t count, const int32_t *initial,
                                    int32_t (*sums)[KT_CHUNK])
{
    static const int32_t none[KT_CHUNK] = {0};
    const int32_t parts = (layer->size + KT_PANEL_VALUES - 1) / KT_PANEL_VALUES;
    const int32_t most = ((layer->size + parts - 1) / parts + 15) & ~15;
    int32_t start, i, c;
    for (start = 0; start < layer->size; start += most) {
        const int32_t length = kt_minimum(layer->size - start, most);
        int32_t part[2][KT_CHUNK];
        for (i = 0; i < at->count; i++) {
            kt_fill_part(patches + i, x, start, length, -layer->params->input_offset, (int8_t *)(uintptr_t)at->x[i]);
        }
        if (start == 0) {
            kt_sums_of(at, w, length, layer->size, count, initial, sums);
            continue;
        }
        kt_sums_of(at, w + start, length, layer->size, count, none, part);
        for (i = 0; i < at->count; i++) {
            for (c = 0; c < count; c += 4) {
                vstrwq_s32(sums[i] + c, vaddq_s32(vldrwq_s32(sums[i] + c), vldrwq_s32(part[i] + c)));
            }
        }
    }
}

/* All channels of one or two positions. addend: NULL for a frozen layer; patches: NULL where all of the windows is there. */
static inline void kt_conv2d_compute(const kt_conv2d_layer *layer, const kt_conv2d_positions *at, kt_addend_lanes *addend,
                                     const kt_patch *patches, const int8_t *x)
{
    const kt_conv2d_params *params = layer->params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t sums[2][KT_CHUNK];
    int32_t own[KT_CHUNK];
    int32_t first;
    for (first = 0; first < channels; first += KT_CHUNK) {
        const int32_t count = kt_minimum(channels - first, KT_CHUNK);
        const int8_t *w = params->weights + first * layer->size;
        const int32_t *initial = layer->initial + first;
        kt_finish_positions results;
        if (layer->initial == NULL) {
            kt_initial_sums(w, layer->size, count, params->input_offset, own);
            initial = own;
        }
        results.sums = sums[0];
        results.distance = KT_CHUNK;
        results.y0 = at->y[0] + first;
        results.y1 = at->y[1] + first;
        if (patches != NULL) {
            kt_sums_of_parts(layer, at, patches, x, w, count, initial, sums);
        } else if (addend != NULL && at->count == 2 && layer->size > 2 * KT_LANES && layer->size <= 3 * KT_LANES) {
            kt_dot_held(at->x, w, layer->size, count, initial, sums[0]);
        } else {
            kt_sums_at(at, w, layer->size, count, initial, sums);
        }
        if (addend != NULL) {
            addend(layer, at, first, count, sums);
        }
        if (at->count == 2) {
            kt_finish_two(&layer->finish, first, count, results);
        } else {
            kt_finish_one(&layer->finish, first, count, results);
        }
    }
}

/* How a layer is walked. */
typedef struct {
    int32_t at_once;    /* positions, 1 or 2 */
    int copied;         /* windows are copied to panels */
} kt_conv2d_plan;

static inline void kt_conv2d_walk_lanes(const kt_conv2d_layer *layer, const int8_t *x, int8_t *y, kt_conv2d_plan plan,
                                        kt_addend_lanes *addend)
{
    const kt_conv2d_params *params = layer->params;
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int8_t panel[2 * KT_PANEL_VALUES];
    kt_conv2d_positions at;
    int32_t oy, ox;
    at.count = 0;
    at.x[1] = panel;
    at.y[1] = y;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_panel_row row = kt_panel_row_at(window, x, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            at.number[at.count] = oy * width + ox;
            at.y[at.count] = y + (oy * width + ox) * channels;
            at.x[at.count] = panel + at.count * KT_PANEL_VALUES;
            if (plan.copied) {
                kt_fill_panel(window, -params->input_offset, &row, ox, x, layer->size, panel + at.count * KT_PANEL_VALUES);
            } else {
                const int32_t ix = ox * window->stride[KT_X] - window->pad[KT_X];
                at.x[at.count] = row.from + ix * depth;
            }
            if (++at.count == plan.at_once) {
                kt_conv2d_compute(layer, &at, addend, NULL, NULL);
                at.count = 0;
            }
        }
    }
    if (at.count != 0) {
        kt_conv2d_compute(layer, &at, addend, NULL, NULL);
    }
}

/* The walk of windows that are copied in parts. apart: nothing of the image is overwritten; otherwise results of up to KT_HELD channels
 * wait until all channels have read. */
static inline void kt_conv2d_walk_parts(const kt_conv2d_layer *layer, const int8_t *x, int8_t *y, int apart, kt_addend_lanes *addend)
{
    const kt_window *window = &layer->params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t width = window->output[KT_X];
    const int32_t positions = window->output[KT_Y] * width;
    const int32_t direction = kt_direction(x, y);
    int8_t panel[2 * KT_PANEL_VALUES];
    int8_t held[2 * KT_HELD];
    kt_patch patches[2];
    kt_conv2d_positions at;
    int32_t i, left;
    for (left = positions; left > 0; left -= at.count) {
        at.count = kt_minimum(left, 2);
        for (i = 0; i < at.count; i++) {
            const int32_t number = direction > 0 ? positions - left + i : left - 1 - i;
            patches[i] = kt_patch_of(window, kt_taps_at(window, KT_Y, number / width), kt_taps_at(window, KT_X, number % width));
            at.number[i] = number;
            at.x[i] = panel + i * KT_PANEL_VALUES;
            at.y[i] = apart ? y + number * channels : held + i * KT_HELD;
        }
        kt_conv2d_compute(layer, &at, addend, patches, x);
        for (i = 0; i < at.count && !apart; i++) {
            kt_copy_lanes(y + at.number[i] * channels, held + i * KT_HELD, channels);
        }
    }
}

/* Whether the image and the result share no memory. */
static inline int kt_conv2d_apart(const kt_window *window, const int8_t *x, const int8_t *y)
{
    const int32_t values = window->input[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t results = window->output[KT_Y] * window->output[KT_X] * window->output[KT_CHANNELS];
    return (uintptr_t)y >= (uintptr_t)(x + values) || (uintptr_t)x >= (uintptr_t)(y + results);
}

/* The layer without its sums of weights. */
static inline kt_conv2d_layer kt_conv2d_layer_of(const kt_conv2d_params *params, const int32_t *bias, const void *trained)
{
    kt_conv2d_layer layer;
    layer.params = params;
    layer.initial = params->offset_sums;
    layer.size = kt_kernel_size(&params->window);
    layer.finish = kt_finish_of(bias, params->multiplier, params->shift, params->window.output[KT_CHANNELS],
                                params->output_offset, params->clamp);
    layer.trained = trained;
    layer.whole = 0;
    return layer;
}

/* All of a layer; 0 where a window is too large to be copied, and nothing is done. */
static inline int kt_conv2d_by_lanes(kt_conv2d_layer layer, const int8_t *x, int8_t *y, kt_addend_lanes *addend)
{
    const kt_conv2d_params *params = layer.params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int apart = kt_conv2d_apart(&params->window, x, y);
    const int where_they_lie = kt_windows_are_pieces(&params->window) && (apart || (layer.size > KT_PANEL_VALUES && channels <= KT_CHUNK));
    const int in_parts = !where_they_lie && layer.size > KT_PANEL_VALUES && !layer.whole;
    int32_t initial[KT_CHUNK];
    kt_conv2d_plan plan;
    plan.copied = !where_they_lie;
    plan.at_once = plan.copied ? (layer.size <= KT_PANEL_VALUES ? 2 : 1) : (apart ? 2 : 1);
    if (in_parts ? !apart && channels > KT_HELD : plan.copied && layer.size > 2 * KT_PANEL_VALUES) {
        return 0;
    }
    if (layer.initial == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(params->weights, layer.size, channels, params->input_offset, initial);
        layer.initial = initial;
    }
    if (in_parts) {
        kt_conv2d_walk_parts(&layer, x, y, apart, addend);
    } else {
        kt_conv2d_walk_lanes(&layer, x, y, plan, addend);
    }
    return 1;
}

#endif
