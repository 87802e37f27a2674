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
#include "panels.h"

/* What is trained is known to the compiler then: no call goes through a pointer, and of a frozen layer nothing is left of it. */
#define KT_KNOWS_THE_ADDEND static inline __attribute__((always_inline))

enum {
    KT_PANEL_VALUES = 576, /* values under a window (3x3x64) up to which two positions are taken at a time */
    KT_MOST_WAITING = 16,  /* positions whose windows are found together */
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

/* Positions: the values under their windows, their results and their numbers. */
typedef struct {
    int32_t count;
    const int8_t *x[KT_MOST_WAITING];
    int8_t *y[KT_MOST_WAITING];
    int32_t number[KT_MOST_WAITING];
} kt_conv2d_waiting;

/* One or two of them. */
typedef struct {
    int32_t count;
    const int8_t *const *x;
    int8_t *const *y;
    const int32_t *number;
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

/* input_offset * sum of the weights of `count` channels from w on. */
static inline void kt_initial_sums(const int8_t *w, int32_t size, int32_t count, int32_t offset, int32_t *initial)
{
    int32_t c;
    for (c = 0; c < count; c++) {
        initial[c] = offset * kt_sum_lanes(w + c * size, size);
    }
}

/* q0, q1, q4 and q2, q3, q5: the 33 to 48 values at each of two positions whose addresses lie at x. The last 16 values are q4 and q5,
 * where those that q1 and q3 hold are 0: a channel's last 16 weights are then read as they lie, however many are meant.
 * last: size - 16; twice: values in two vectors, 48 - size. */
#define KT_HOLD_THREE_VECTORS \
    "vctp.8 %[twice]\n\t" \
    "ldrd %[a], %[b], [%[x]]\n\t" \
    "vpnot\n\t" \
    "vldrb.8 q0, [%[a]]\n\t" \
    "vldrb.8 q1, [%[a], #16]\n\t" \
    "vldrb.8 q2, [%[b]]\n\t" \
    "vldrb.8 q3, [%[b], #16]\n\t" \
    "add %[a], %[a], %[last]\n\t" \
    "add %[b], %[b], %[last]\n\t" \
    "vpstt\n\t" \
    "vldrbt.8 q4, [%[a]]\n\t" \
    "vldrbt.8 q5, [%[b]]\n\t"

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
                     "add %[w], %[w], %[size]\n\t"
                     "vldrb.8 q6, [%[w], #-16]\n\t"
                     "vmladava.s8 %[a], q1, q7\n\t"
                     "vmladava.s8 %[b], q3, q7\n\t"
                     "vmladava.s8 %[a], q4, q6\n\t"
                     "vmladava.s8 %[b], q5, q6\n\t"
                     "str %[a], [%[sums]], #4\n\t"
                     "str %[b], [%[sums], #252]\n\t"     /* 4 * KT_CHUNK - 4 */
                     "le lr, 1b\n"
                     "2:\n"
                     : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [sums] "+r"(sums), [initial] "+r"(initial)
                     : [x] "r"(x), [size] "r"(size), [last] "r"(size - KT_LANES), [twice] "r"(3 * KT_LANES - size), [count] "r"(count)
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

/* Channels of one or two positions from the first on. initial: what their sums start from; addend: NULL for a frozen layer; patches: NULL
 * where all of the windows is there. */
static inline void kt_conv2d_channels(const kt_conv2d_layer *layer, const kt_conv2d_positions *at, int32_t first, int32_t count,
                                      const int32_t *initial, kt_addend_lanes *addend, const kt_patch *patches, const int8_t *x)
{
    const int8_t *w = layer->params->weights + first * layer->size;
    int32_t sums[2][KT_CHUNK];
    kt_finish_positions results;
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

/* All channels of the positions that wait. */
KT_KNOWS_THE_ADDEND void kt_conv2d_compute(const kt_conv2d_layer *layer, const kt_conv2d_waiting *waiting, kt_addend_lanes *addend,
                                     const kt_patch *patches, const int8_t *x)
{
    const kt_conv2d_params *params = layer->params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t own[KT_CHUNK];
    int32_t first, i;
    for (first = 0; first < channels; first += KT_CHUNK) {
        const int32_t count = kt_minimum(channels - first, KT_CHUNK);
        const int32_t *initial = layer->initial + first;
        if (layer->initial == NULL) {
            kt_initial_sums(params->weights + first * layer->size, layer->size, count, params->input_offset, own);
            initial = own;
        }
        for (i = 0; i < waiting->count; i += 2) {
            const kt_conv2d_positions at = {
                kt_minimum(waiting->count - i, 2), waiting->x + i, waiting->y + i, waiting->number + i,
            };
            kt_conv2d_channels(layer, &at, first, count, initial, addend, patches, x);
        }
    }
}

/* How a layer is walked. */
typedef struct {
    int8_t *panel;      /* where windows are copied to; NULL: they are read where they lie */
    int32_t distance;   /* from panel to panel */
    int32_t most;       /* positions whose windows are found before the first is computed, up to KT_MOST_WAITING */
} kt_conv2d_plan;

/* What computes positions that wait; it may change them. */
typedef void kt_conv2d_of_waiting(const kt_conv2d_layer *layer, kt_conv2d_waiting *waiting, kt_addend_lanes *addend);

/* `taken` more positions of the row `oy` wait, from ox on. */
static inline void kt_conv2d_await(const kt_window *window, const int8_t *x, int8_t *y, kt_conv2d_plan plan, int32_t oy, int32_t ox,
                                   int32_t direction, int32_t taken, kt_conv2d_waiting *waiting)
{
    const int32_t channels = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS];
    const int32_t along = window->stride[KT_X] * depth;
    const int32_t first = (oy * window->stride[KT_Y] - window->pad[KT_Y]) * window->input[KT_X] - window->pad[KT_X];
    const int32_t from_step = plan.panel == NULL ? direction * along : plan.distance;
    const int8_t *from = plan.panel == NULL ? x + first * depth + ox * along : plan.panel + waiting->count * plan.distance;
    int32_t number = oy * window->output[KT_X] + ox;
    int8_t *to = y + number * channels;
    for (; taken > 0; taken--, number += direction, from += from_step, to += direction * channels) {
        waiting->x[waiting->count] = from;
        waiting->y[waiting->count] = to;
        waiting->number[waiting->count++] = number;
    }
}

/* Windows are found several at a time, also from row to row, and before results are written: nothing is read that was overwritten. */
KT_KNOWS_THE_ADDEND void kt_conv2d_walk_windows(const kt_conv2d_layer *layer, const int8_t *x, int8_t *y, kt_conv2d_plan plan,
                                          kt_conv2d_of_waiting *compute, kt_addend_lanes *addend)
{
    const kt_window *window = &layer->params->window;
    const int32_t height = window->output[KT_Y], width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    kt_panels panels = {NULL, NULL, 0, 0, 0, 0};
    kt_conv2d_waiting waiting;
    int32_t oy, ox;
    waiting.count = 0;
    if (plan.panel != NULL) {
        panels = kt_panels_of(window, x, -layer->params->input_offset, plan.distance);
    }
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        int32_t left = width;
        while (left > 0) {
            const int32_t taken = kt_minimum(left, plan.most - waiting.count);
            ox = direction > 0 ? width - left : left - 1;
            if (plan.panel != NULL) {
                kt_fill_panels(&panels, oy, ox, direction, taken, plan.panel + waiting.count * plan.distance);
            }
            kt_conv2d_await(window, x, y, plan, oy, ox, direction, taken, &waiting);
            if (waiting.count == plan.most) {
                compute(layer, &waiting, addend);
                waiting.count = 0;
            }
            left -= taken;
        }
    }
    if (waiting.count != 0) {
        compute(layer, &waiting, addend);
    }
}

KT_KNOWS_THE_ADDEND void kt_conv2d_compute_waiting(const kt_conv2d_layer *layer, kt_conv2d_waiting *waiting, kt_addend_lanes *addend)
{
    kt_conv2d_compute(layer, waiting, addend, NULL, NULL);
}

/* The walk of windows that are copied in parts. panel: 2 * KT_PANEL_VALUES; apart: nothing of the image is overwritten; otherwise results of
 * up to KT_HELD channels wait until all channels have read. */
KT_KNOWS_THE_ADDEND void kt_conv2d_walk_parts(const kt_conv2d_layer *layer, const int8_t *x, int8_t *y, int apart, int8_t *panel,
                                        kt_addend_lanes *addend)
{
    const kt_window *window = &layer->params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t width = window->output[KT_X];
    const int32_t positions = window->output[KT_Y] * width;
    const int32_t direction = kt_direction(x, y);
    int8_t held[2 * KT_HELD];
    kt_patch patches[2];
    kt_conv2d_waiting waiting;
    int32_t i, left;
    for (left = positions; left > 0; left -= waiting.count) {
        waiting.count = kt_minimum(left, 2);
        for (i = 0; i < waiting.count; i++) {
            const int32_t number = direction > 0 ? positions - left + i : left - 1 - i;
            patches[i] = kt_patch_of(window, kt_taps_at(window, KT_Y, number / width), kt_taps_at(window, KT_X, number % width));
            waiting.number[i] = number;
            waiting.x[i] = panel + i * KT_PANEL_VALUES;
            waiting.y[i] = apart ? y + number * channels : held + i * KT_HELD;
        }
        kt_conv2d_compute(layer, &waiting, addend, patches, x);
        for (i = 0; i < waiting.count && !apart; i++) {
            kt_copy_lanes(y + waiting.number[i] * channels, held + i * KT_HELD, channels);
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
KT_KNOWS_THE_ADDEND int kt_conv2d_by_lanes(kt_conv2d_layer layer, const int8_t *x, int8_t *y, kt_addend_lanes *addend)
{
    const kt_conv2d_params *params = layer.params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int apart = kt_conv2d_apart(&params->window, x, y);
    const int where_they_lie = kt_windows_are_pieces(&params->window) && (apart || (layer.size > KT_PANEL_VALUES && channels <= KT_CHUNK));
    const int in_parts = !where_they_lie && layer.size > KT_PANEL_VALUES && !layer.whole;
    int32_t initial[KT_CHUNK];
    int8_t panel[2 * KT_PANEL_VALUES];
    kt_conv2d_plan plan;
    plan.panel = where_they_lie ? NULL : panel;
    plan.distance = (layer.size + KT_LANES - 1) & -KT_LANES;
    plan.most = where_they_lie ? KT_MOST_WAITING : kt_clamp(2 * KT_PANEL_VALUES / plan.distance, 1, KT_MOST_WAITING);
    if (in_parts ? !apart && channels > KT_HELD : !where_they_lie && layer.size > 2 * KT_PANEL_VALUES) {
        return 0;
    }
    if (layer.initial == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(params->weights, layer.size, channels, params->input_offset, initial);
        layer.initial = initial;
    }
    if (in_parts) {
        kt_conv2d_walk_parts(&layer, x, y, apart, panel, addend);
    } else {
        kt_conv2d_walk_windows(&layer, x, y, plan, kt_conv2d_compute_waiting, addend);
    }
    return 1;
}

#endif
