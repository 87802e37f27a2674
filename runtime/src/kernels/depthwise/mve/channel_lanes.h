/* channel_lanes.h: depthwise convolutions on cores with Helium, position by position, 16 channels in the lanes of a vector.
 *
 * Products of two taps are added in 16 bits, which holds them as long as no weight is -128. Sums stay in registers until they are results.
 * A tap outside the image points to a line of zero points, so that every position sums all taps, and input_offset times the sum of a
 * channel's weights is where its sum starts. The work is the same for any stride and dilation. */
#ifndef KT_CHANNEL_LANES_H
#define KT_CHANNEL_LANES_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "../../mve/finish.h"
#include "../../window.h"

enum {
    KT_LANE_TAPS = 52,        /* 7x7, and more than any window of few rows */
    KT_LANE_CHANNELS = 512,   /* of the line of zero points and the tables */
    KT_LANE_LARGE = 1 << 30   /* of a bias: a sum with it does not leave int32 */
};

/* A layer, and the positions at hand. kt_lanes_positions_ know the places.
 *
 * x, base     where the taps are, from `base` on, which is the window's first value of channel 0
 * start       [channels]: bias + input_offset * sum of the weights
 * shift       [channels], of each 16 those of channels 0, 4, 8, 12, then 1, 5, ...
 * blocks      of 16 channels; rest: channels behind them, whose multipliers lie where 16 may be read
 * low, high   of a result, 16 times
 * count       positions, y_step and base_step from one to the next */
typedef struct {
    const int32_t *x;
    const int8_t *w;
    const int32_t *start, *multiplier;
    const int8_t *shift;
    int8_t *y;
    const int8_t *base;
    int32_t step, pairs, odd, blocks, offset;
    int8_t low[16], high[16];
    int32_t rest;
    const int32_t *rest_multiplier;
    int32_t y_step, base_step, count;
} kt_lanes_layer;

typedef char kt_lanes_layer_has_its_places[offsetof(kt_lanes_layer, base) == 24 && offsetof(kt_lanes_layer, blocks) == 40 &&
                                           offsetof(kt_lanes_layer, high) == 64 && offsetof(kt_lanes_layer, y_step) == 88 ? 1 : -1];

/* Products of 16 channels of the tap at r0 in two vectors, of even and of odd channels. WHERE: "" or, of the last channels, what lets no more
 * than those be read. */
#define KT_LANES_OF(WHERE, T, even, odd, value, weights) \
    WHERE \
    "vldrb" T ".8 " value ", [r0]\n\t" \
    "vldrb" T ".8 " weights ", [r10]\n\t" \
    "add r10, r10, r8\n\t" \
    "vmullb.s8 " even ", " value ", " weights "\n\t" \
    "vmullt.s8 " odd ", " value ", " weights "\n\t"

/* Products of even and odd channels added to the sums: vector i has channels i, i + 4, i + 8 and i + 12. */
#define KT_ADD_LANES(even, odd, free) \
    "vmovlb.s16 " free ", " even "\n\t" \
    "vadd.i32 q4, q4, " free "\n\t" \
    "vmovlt.s16 " even ", " even "\n\t" \
    "vmovlb.s16 " free ", " odd "\n\t" \
    "vadd.i32 q6, q6, " even "\n\t" \
    "vmovlt.s16 " odd ", " odd "\n\t" \
    "vadd.i32 q5, q5, " free "\n\t" \
    "vadd.i32 q7, q7, " odd "\n\t"

/* All taps of 16 channels. r1: where the taps are; r7: base; r8: step; r10: weights; r12: layer. */
#define KT_SUM_LANES(WHERE, T) \
    "vld40.32 {q4, q5, q6, q7}, [r3]\n\t" \
    "vld41.32 {q4, q5, q6, q7}, [r3]\n\t" \
    "vld42.32 {q4, q5, q6, q7}, [r3]\n\t" \
    "vld43.32 {q4, q5, q6, q7}, [r3]!\n\t" \
    "ldr r1, [r12]\n\t" \
    "ldr r0, [r12, #32]\n\t"              /* pairs */ \
    "mov r10, r2\n\t" \
    "wls lr, r0, 2f\n" \
    "1:\n\t" \
    "ldrd r0, r9, [r1], #8\n\t" \
    "add r0, r0, r7\n\t" \
    KT_LANES_OF(WHERE, T, "q2", "q3", "q0", "q1") \
    "add r0, r9, r7\n\t" \
    "vstrw.32 q3, [sp]\n\t"                /* five vectors are needed, four are left */ \
    KT_LANES_OF(WHERE, T, "q3", "q0", "q0", "q1") \
    "vadd.i16 q2, q2, q3\n\t" \
    "vldrw.32 q3, [sp]\n\t" \
    "vadd.i16 q0, q0, q3\n\t" \
    KT_ADD_LANES("q2", "q0", "q1") \
    "le lr, 1b\n" \
    "2:\n\t" \
    "ldr r0, [r12, #36]\n\t" \
    "cbz r0, 3f\n\t"                       /* a last tap alone */ \
    "ldr r0, [r1]\n\t" \
    "add r0, r0, r7\n\t" \
    KT_LANES_OF(WHERE, T, "q2", "q3", "q0", "q1") \
    KT_ADD_LANES("q2", "q3", "q0") \
    "3:\n\t"

/* What is done to each vector of sums before it is multiplied and after; q1: shifts. Only shifts to the left need the first. */
#define KT_NOTHING_BEFORE(x)
#define KT_NOTHING_BACK
#define KT_LEFT_BEFORE(x) \
    "vldrb.s32 q1, [r5], #4\n\t" \
    "vmax.s32 q1, q1, q0\n\t" \
    "vqshl.s32 " x ", " x ", q1\n\t"
#define KT_LEFT_BACK "sub r5, #16\n\t"
#define KT_RECTIFIED_AFTER(x)
#define KT_RIGHT_AFTER(x) \
    "vand q0, " x ", q1\n\t" \
    "vshr.s32 q0, q0, #31\n\t" \
    "vqadd.s32 " x ", " x ", q0\n\t"
#define KT_LEFT_AFTER(x) \
    "vmov.i32 q0, #0\n\t" \
    "vmin.s32 q1, q1, q0\n\t" \
    KT_RIGHT_AFTER(x)
#define KT_FINISH_LANES(AFTER, x) \
    "vldrb.s32 q1, [r5], #4\n\t" \
    AFTER(x) \
    "vrshl.s32 " x ", " x ", q1\n\t"

/* 16 results in order: results of even channels and of odd ones in 16 bits, then all in 8. */
#define KT_STORE_LANES(BEFORE, BACK, AFTER, WHERE, T) \
    "vmov.i32 q0, #0\n\t" \
    BEFORE("q4") \
    BEFORE("q5") \
    BEFORE("q6") \
    BEFORE("q7") \
    BACK \
    "vld40.32 {q0, q1, q2, q3}, [r4]\n\t" \
    "vld41.32 {q0, q1, q2, q3}, [r4]\n\t" \
    "vld42.32 {q0, q1, q2, q3}, [r4]\n\t" \
    "vld43.32 {q0, q1, q2, q3}, [r4]!\n\t" \
    "vqrdmulh.s32 q4, q4, q0\n\t" \
    "vqrdmulh.s32 q5, q5, q1\n\t" \
    "vqrdmulh.s32 q6, q6, q2\n\t" \
    "vqrdmulh.s32 q7, q7, q3\n\t" \
    KT_FINISH_LANES(AFTER, "q4") \
    KT_FINISH_LANES(AFTER, "q5") \
    KT_FINISH_LANES(AFTER, "q6") \
    KT_FINISH_LANES(AFTER, "q7") \
    "ldr r0, [r12, #44]\n\t" \
    "vqmovnb.s32 q0, q4\n\t" \
    "vqmovnt.s32 q0, q6\n\t" \
    "vqmovnb.s32 q1, q5\n\t" \
    "vqmovnt.s32 q1, q7\n\t" \
    "vqadd.s16 q0, q0, r0\n\t" \
    "vqadd.s16 q1, q1, r0\n\t" \
    "vldrw.32 q2, [r12, #48]\n\t" \
    "vldrw.32 q3, [r12, #64]\n\t" \
    "vqmovnb.s16 q0, q0\n\t" \
    "vqmovnt.s16 q0, q1\n\t" \
    "vmax.s8 q0, q0, q2\n\t" \
    "vmin.s8 q0, q0, q3\n\t" \
    WHERE \
    "vstrb" T ".8 q0, [r6]\n\t"

#define KT_LANES_POSITIONS(BEFORE, BACK, AFTER) \
    "push {r4-r11, lr}\n\t" \
    "vpush {d8-d15}\n\t" \
    "sub sp, #16\n\t" \
    "mov r12, r0\n" \
    "7:\n\t" \
    "ldrd r2, r3, [r12, #4]\n\t" \
    "ldrd r4, r5, [r12, #12]\n\t" \
    "ldrd r6, r7, [r12, #20]\n\t" \
    "ldr r8, [r12, #28]\n\t" \
    "ldr r11, [r12, #40]\n\t" \
    "cmp r11, #0\n\t" \
    "beq 5f\n" \
    "4:\n\t" \
    KT_SUM_LANES("", "") \
    KT_STORE_LANES(BEFORE, BACK, AFTER, "", "") \
    "add r2, #16\n\t" \
    "add r6, #16\n\t" \
    "add r7, #16\n\t" \
    "subs r11, #1\n\t" \
    "bne 4b\n" \
    "5:\n\t" \
    "ldr r11, [r12, #80]\n\t" \
    "cmp r11, #0\n\t" \
    "beq 6f\n\t" \
    "vctp.8 r11\n\t" \
    "ldr r4, [r12, #84]\n\t" \
    KT_SUM_LANES("vpstt\n\t", "t") \
    KT_STORE_LANES(BEFORE, BACK, AFTER, "vpst\n\t", "t") \
    "6:\n\t" \
    "ldrd r6, r7, [r12, #20]\n\t" \
    "ldrd r0, r1, [r12, #88]\n\t" \
    "ldr r2, [r12, #96]\n\t" \
    "add r6, r0\n\t" \
    "add r7, r1\n\t" \
    "subs r2, #1\n\t" \
    "strd r6, r7, [r12, #20]\n\t" \
    "str r2, [r12, #96]\n\t" \
    "bne 7b\n\t" \
    "add sp, #16\n\t" \
    "vpop {d8-d15}\n\t" \
    "pop {r4-r11, pc}\n"

__attribute__((naked, noinline)) static void kt_lanes_positions_rectified(kt_lanes_layer *layer)
{
    (void)layer;
    __asm__(KT_LANES_POSITIONS(KT_NOTHING_BEFORE, KT_NOTHING_BACK, KT_RECTIFIED_AFTER));
}

__attribute__((naked, noinline)) static void kt_lanes_positions_right(kt_lanes_layer *layer)
{
    (void)layer;
    __asm__(KT_LANES_POSITIONS(KT_NOTHING_BEFORE, KT_NOTHING_BACK, KT_RIGHT_AFTER));
}

__attribute__((naked, noinline)) static void kt_lanes_positions_any(kt_lanes_layer *layer)
{
    (void)layer;
    __asm__(KT_LANES_POSITIONS(KT_LEFT_BEFORE, KT_LEFT_BACK, KT_LEFT_AFTER));
}

/* input_offset * sum of the weights of each channel; returns whether a weight is -128. */
static inline int kt_lanes_sums(const kt_depthwise_conv2d_params *params, int32_t channels, int32_t taps, int32_t *sums)
{
    int8x16_t smallest = vdupq_n_s8(127);
    int32_t c, tap;
    for (c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        const int8_t *w = params->weights + c;
        int32x4_t sum = vdupq_n_s32(0);
        for (tap = 0; tap < taps; tap++, w += channels) {
            const int32x4_t values = vldrbq_z_s32(w, lanes);
            sum = vaddq_s32(sum, values);
            smallest = vminq_s8(smallest, vreinterpretq_s8_s32(values));
        }
        vstrwq_p_s32(sums + c, vmulq_n_s32(sum, params->input_offset), lanes);
    }
    return vminvq_s8(127, smallest) == -128;
}

/* start += bias, and shifts in the order of the lanes; returns whether the bias is small enough. */
static inline int kt_lanes_tables(const kt_depthwise_conv2d_params *params, const int32_t *initial, const int32_t *bias, int32_t channels,
                                  int32_t *start, int8_t *shift)
{
    const uint32x4_t fourth = vidupq_n_u32(0, 4);
    uint32_t most = 0;
    int32_t c, i;
    for (c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        const int32x4_t values = vldrwq_z_s32(bias + c, lanes);
        most = vmaxavq_s32(most, values);
        vstrwq_s32(start + c, vaddq_s32(vldrwq_z_s32(initial + c, lanes), values));
    }
    for (c = 0; c < channels; c += 16) {
        for (i = 0; i < 4; i++) {
            const mve_pred16_t lanes = vctp32q((uint32_t)kt_maximum(channels - c - i + 3, 0) / 4);
            const int32x4_t values = vldrbq_gather_offset_z_s32(params->shift + c + i, fourth, lanes);
            vstrbq_s32(shift + c + 4 * i, vminq_s32(vmaxq_s32(values, vdupq_n_s32(-31)), vdupq_n_s32(31)));
        }
    }
    return most <= KT_LANE_LARGE;
}

/* A column of pixels lies in memory as a row does: its window becomes that of a row. Returns whether it is one. */
static inline int kt_turned(kt_window *window)
{
    const kt_window column = *window;
    int32_t axis;
    if (window->input[KT_X] != 1 || window->output[KT_X] != 1) {
        return 0;
    }
    for (axis = KT_Y; axis <= KT_X; axis++) {
        const int32_t other = KT_X - axis;
        window->input[axis] = column.input[other];
        window->output[axis] = column.output[other];
        window->kernel[axis] = column.kernel[other];
        window->stride[axis] = column.stride[other];
        window->pad[axis] = column.pad[other];
        window->dilation[axis] = column.dilation[other];
    }
    return 1;
}

/* Where the taps of a window are from its first value on; those outside of the image at `outside`. */
static inline void kt_point_taps(const kt_window *window, kt_taps rows, kt_taps columns, int32_t outside, int32_t *tap)
{
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels;
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int inside = ky >= rows.first && ky < rows.first + rows.count;
        int32_t place = ky * window->dilation[KT_Y] * line;
        for (kx = 0; kx < window->kernel[KT_X]; kx++, place += window->dilation[KT_X] * channels) {
            *tap++ = inside && kx >= columns.first && kx < columns.first + columns.count ? place : outside;
        }
    }
}

static inline void kt_lanes_positions(kt_lanes_layer *layer, kt_shift_kind kind, int32_t count)
{
    layer->count = count;
    if (kind == KT_RECTIFIED) {
        kt_lanes_positions_rectified(layer);
    } else if (kind == KT_RIGHT_SHIFT) {
        kt_lanes_positions_right(layer);
    } else {
        kt_lanes_positions_any(layer);
    }
}

/* The positions of a layer whose tables are set; those of a row that lie inside at once. */
static inline void kt_lanes_walk(kt_lanes_layer *layer, const kt_window *window, kt_shift_kind kind, const int8_t *x, const int8_t *line,
                                 int8_t *y)
{
    const int32_t height = window->output[KT_Y], width = window->output[KT_X], channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(x, y), along = window->stride[KT_X] * channels;
    const int32_t reach = (window->kernel[KT_X] - 1) * window->dilation[KT_X] + 1;
    const int32_t last = window->input[KT_X] - reach + window->pad[KT_X]; /* along the image, from the border's first column on */
    const kt_taps every_row = {0, window->kernel[KT_Y], 0}, every_column = {0, window->kernel[KT_X], 0};
    int32_t inside[KT_LANE_TAPS], border[KT_LANE_TAPS];
    int32_t oy, ox;
    layer->y_step = direction * channels;
    layer->base_step = direction * along;
    kt_point_taps(window, every_row, every_column, 0, inside);
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        const int whole = rows.count == window->kernel[KT_Y];
        const int32_t first = whole ? kt_divide_up(kt_maximum(window->pad[KT_X], 0), window->stride[KT_X]) : width;
        const int32_t end = last < 0 ? 0 : kt_minimum(last / window->stride[KT_X] + 1, width);
        const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
        const int8_t *const row = x + (top * window->input[KT_X] - window->pad[KT_X]) * channels;
        int32_t taken;
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction * taken) {
            layer->base = row + ox * along;
            layer->y = y + (oy * width + ox) * channels;
            if (ox >= first && ox < end) {
                taken = direction > 0 ? end - ox : ox - first + 1;
                layer->x = inside;
            } else {
                taken = 1;
                kt_point_taps(window, rows, kt_taps_at(window, KT_X, ox), (int32_t)((uintptr_t)line - (uintptr_t)layer->base), border);
                layer->x = border;
            }
            kt_lanes_positions(layer, kind, taken);
        }
    }
}

static inline int kt_lanes_have_room(const kt_depthwise_conv2d_params *params)
{
    const int32_t taps = params->window.kernel[KT_Y] * params->window.kernel[KT_X];
    return params->depth_multiplier == 1 && params->window.output[KT_CHANNELS] <= KT_LANE_CHANNELS && taps <= KT_LANE_TAPS;
}

/* All of a layer; 0 where there is no room for it, a weight is -128 or a bias is too large, and nothing is done. */
static __attribute__((noinline)) int kt_depthwise_by_channels(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                                              int8_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS], rest = channels & 15;
    const int32_t taps = params->window.kernel[KT_Y] * params->window.kernel[KT_X];
    kt_window window = params->window;
    int32_t start[KT_LANE_CHANNELS], rest_multiplier[16];
    int8_t shift[KT_LANE_CHANNELS], line[KT_LANE_CHANNELS];
    kt_lanes_layer layer;
    int32_t c;
    if (!kt_lanes_have_room(params)) {
        return 0;
    }
    if ((params->offset_sums == NULL && kt_lanes_sums(params, channels, taps, start)) ||
        !kt_lanes_tables(params, params->offset_sums == NULL ? start : params->offset_sums, bias, channels, start, shift)) {
        return 0;
    }
    for (c = 0; c < rest; c++) {
        rest_multiplier[c] = params->multiplier[channels - rest + c];
    }
    layer.w = params->weights;
    layer.start = start;
    layer.multiplier = params->multiplier;
    layer.shift = shift;
    layer.step = channels;
    layer.pairs = taps >> 1;
    layer.odd = taps & 1;
    layer.blocks = channels >> 4;
    layer.offset = params->output_offset;
    layer.rest = rest;
    layer.rest_multiplier = rest_multiplier;
    vst1q_s8(layer.low, vdupq_n_s8((int8_t)params->clamp[0]));
    vst1q_s8(layer.high, vdupq_n_s8((int8_t)params->clamp[1]));
    kt_fill_lanes(line, -params->input_offset, channels);
    if (window.kernel[KT_X] == 1) { /* taps keep their order, and neighbours of a column are computed at once */
        kt_turned(&window);
    }
    kt_lanes_walk(&layer, &window, kt_shift_kind_of(params->shift, channels, params->output_offset, params->clamp[0]), x, line, y);
    return 1;
}

#endif
