/* kt_depthwise_conv2d_s8 on cores with Helium: 16 channels at a time, one value a channel from each tap. The formula and its
 * rounding are those of ../depthwise_conv2d.c.
 *
 * A tap outside the image points to a line of zero points instead, so that every position sums all taps, and input_offset
 * times the sum of a channel's weights is where its sum starts. Products of two taps are added in 16 bits, which holds them as
 * long as no weight is -128. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_conv2d.h"
#include "../../mve/finish.h"
#include "columns.h"

enum {
    TAPS = 52,         /* 7x7, rounded up to whole vectors of addresses */
    CHUNK = 64,        /* channels whose sums are kept */
    CHANNELS = 512,    /* of the line of zero points */
    OWN_SUMS = 256     /* channels whose weights are summed here */
};

/* A layer, and where the taps of the present position are. */
typedef struct {
    const kt_depthwise_conv2d_params *params;
    const int32_t *initial;    /* input_offset * sum of the weights of each channel */
    int32_t channels, taps;
    kt_finish finish;
    uint32_t x[TAPS];          /* addresses, which are moved four at a time */
} layer;

/* Sums of 16 channels from c on. x: addresses of the taps; w: weights of the first tap; step: to those of the next.
 *
 * Assembly, because gcc keeps the addresses on the stack and has no registers left for the four sums: vector i has channels
 * i, i + 4, i + 8 and i + 12, which VLD4 and VST4 bring into order. */
static inline void sum16(const layer *l, int32_t c, int32_t *sums)
{
    const int8_t *x0, *x1;
    const int8_t *w = l->params->weights + c;
    const uint32_t *x = l->x;
    __asm__ volatile("vld40.32 {q4, q5, q6, q7}, [%[initial]]\n\tvld41.32 {q4, q5, q6, q7}, [%[initial]]\n\t"
            "vld42.32 {q4, q5, q6, q7}, [%[initial]]\n\tvld43.32 {q4, q5, q6, q7}, [%[initial]]\n\t"
            "wls lr, %[pairs], 2f\n"                  /* none: skip */
            "1:\n\t"
            "ldrd %[x0], %[x1], [%[x]], #8\n\t"       /* where two taps are */
            "add %[x0], %[x0], %[c]\n\t"
            "vldrb.8 q0, [%[x0]]\n\t"                /* 16 values of the first */
            "vldrb.8 q1, [%[w]]\n\t"                 /* and their weights */
            "add %[w], %[w], %[step]\n\t"
            "vmullb.s8 q2, q0, q1\n\t"               /* products of channels 0, 2, ... 14 */
            "vmullt.s8 q3, q0, q1\n\t"               /* of channels 1, 3, ... 15 */
            "add %[x1], %[x1], %[c]\n\t"
            "vstrw.32 q3, [%[sums]]\n\t"             /* five vectors are needed, four are left */
            "vldrb.8 q0, [%[x1]]\n\t"                /* the same of the second tap */
            "vldrb.8 q1, [%[w]]\n\t"
            "add %[w], %[w], %[step]\n\t"
            "vmullb.s8 q3, q0, q1\n\t"
            "vmullt.s8 q0, q0, q1\n\t"
            "vadd.i16 q2, q2, q3\n\t"                /* both taps, even channels */
            "vldrw.32 q3, [%[sums]]\n\t"
            "vmovlb.s16 q1, q2\n\t"                  /* channels 0, 4, 8, 12 */
            "vadd.i16 q0, q0, q3\n\t"                /* both taps, odd channels */
            "vadd.i32 q4, q4, q1\n\t"
            "vmovlt.s16 q2, q2\n\t"                  /* channels 2, 6, 10, 14 */
            "vmovlb.s16 q1, q0\n\t"                  /* channels 1, 5, 9, 13 */
            "vadd.i32 q6, q6, q2\n\t"
            "vmovlt.s16 q0, q0\n\t"                  /* channels 3, 7, 11, 15 */
            "vadd.i32 q5, q5, q1\n\t"
            "vadd.i32 q7, q7, q0\n\t"
            "le lr, 1b\n"
            "2:\n\t"
            "cbz %[odd], 3f\n\t"                     /* a last tap alone */
            "ldr %[x0], [%[x]]\n\t"
            "add %[x0], %[x0], %[c]\n\t"
            "vldrb.8 q0, [%[x0]]\n\t"
            "vldrb.8 q1, [%[w]]\n\t"
            "vmullb.s8 q2, q0, q1\n\t"
            "vmullt.s8 q3, q0, q1\n\t"
            "vmovlb.s16 q0, q2\n\t"
            "vmovlt.s16 q1, q2\n\t"
            "vadd.i32 q4, q4, q0\n\t"
            "vmovlb.s16 q2, q3\n\t"
            "vadd.i32 q6, q6, q1\n\t"
            "vmovlt.s16 q3, q3\n\t"
            "vadd.i32 q5, q5, q2\n\t"
            "vadd.i32 q7, q7, q3\n"
            "3:\n\t"
            "vst40.32 {q4, q5, q6, q7}, [%[sums]]\n\tvst41.32 {q4, q5, q6, q7}, [%[sums]]\n\t"
            "vst42.32 {q4, q5, q6, q7}, [%[sums]]\n\tvst43.32 {q4, q5, q6, q7}, [%[sums]]\n"
            : [x] "+r"(x), [w] "+r"(w), [x0] "=&r"(x0), [x1] "=&r"(x1)
            : [step] "r"(l->channels), [c] "r"(c), [pairs] "r"(l->taps >> 1), [odd] "l"(l->taps & 1), [sums] "r"(sums),
              [initial] "r"(l->initial + c)
            : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* The last `count` < 16 channels, four at a time. */
static void sum_rest(const layer *l, int32_t c, int32_t count, int32_t *sums)
{
    for (; count > 0; count -= 4, c += 4, sums += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        const int8_t *w = l->params->weights + c;
        int32x4_t sum = vldrwq_z_s32(l->initial + c, lanes);
        int32_t tap;
        for (tap = 0; tap < l->taps; tap++, w += l->channels) {
            const int8_t *x = (const int8_t *)(uintptr_t)l->x[tap] + c;
            sum = vaddq_s32(sum, vmulq_s32(vldrbq_z_s32(x, lanes), vldrbq_z_s32(w, lanes)));
        }
        vstrwq_s32(sums, sum);
    }
}

/* All channels of one position. */
static void position(const layer *l, int8_t *y)
{
    int32_t sums[CHUNK];
    kt_finish_positions results;
    int32_t first;
    results.sums = sums;
    results.distance = 0;
    for (first = 0; first < l->channels; first += CHUNK) {
        const int32_t count = kt_minimum(l->channels - first, CHUNK);
        int32_t c;
        for (c = 0; c + 16 <= count; c += 16) {
            sum16(l, first + c, sums + c);
        }
        if (c < count) {
            sum_rest(l, first + c, count - c, sums + c);
        }
        results.y0 = y + first;
        results.y1 = NULL;
        kt_finish_one(&l->finish, first, count, results);
    }
}

/* Points `count` taps of a row at addresses `distance` apart. */
static inline uint32_t *point_row(uint32_t *tap, int32_t count, uint32_t address, uint32_t distance)
{
    for (; count > 0; count--, address += distance) {
        *tap++ = address;
    }
    return tap;
}

/* Points all taps of the position at (oy, left) at the image or, outside it, at the line. */
static void point(layer *l, const int8_t *x, const int8_t *line, int32_t oy, int32_t left)
{
    const kt_window *window = &l->params->window;
    const int32_t width = window->input[KT_X];
    const int32_t height = window->input[KT_Y];
    const int32_t step = window->dilation[KT_X];
    const int32_t columns = window->kernel[KT_X];
    const int inside = left >= 0 && left + (columns - 1) * step < width;
    const uint32_t distance = (uint32_t)(step * l->channels);
    const uint32_t outside = (uint32_t)(uintptr_t)line;
    int32_t iy = oy * window->stride[KT_Y] - window->pad[KT_Y];
    uint32_t *tap = l->x;
    int32_t ky, kx;
    for (ky = window->kernel[KT_Y]; ky > 0; ky--, iy += window->dilation[KT_Y]) {
        const uint32_t address = (uint32_t)(uintptr_t)(x + (iy * width + left) * l->channels);
        if (!kt_within(iy, height)) {
            tap = point_row(tap, columns, outside, 0);
        } else if (inside) {
            tap = point_row(tap, columns, address, distance);
        } else {
            for (kx = 0; kx < columns; kx++) {
                *tap++ = kt_within(left + kx * step, width) ? address + (uint32_t)kx * distance : outside;
            }
        }
    }
}

/* Moves all taps; only between positions that lie inside. */
static void move(layer *l, int32_t distance)
{
    int32_t tap;
    for (tap = 0; tap < l->taps; tap += 4) {
        vstrwq_u32(l->x + tap, vaddq_n_u32(vldrwq_u32(l->x + tap), (uint32_t)distance));
    }
}

static void walk(layer *l, const int8_t *x, const int8_t *line, int8_t *y)
{
    const kt_window *window = &l->params->window;
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    const int32_t step = window->stride[KT_X];
    const int32_t reach = (window->kernel[KT_X] - 1) * window->dilation[KT_X];
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        int movable = 0;
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const int32_t left = ox * step - window->pad[KT_X];
            const int inside = rows.count == window->kernel[KT_Y] && left >= 0 && left + reach < window->input[KT_X];
            if (inside && movable) {
                move(l, direction * step * l->channels);
            } else {
                point(l, x, line, oy, left);
            }
            movable = inside;
            position(l, y + (oy * width + ox) * l->channels);
        }
    }
}

/* input_offset * sum of the weights of each channel; returns whether a weight is -128. */
static int initial_sums(const layer *l, int32_t *initial)
{
    const int32_t offset = l->params->input_offset;
    int8x16_t smallest = vdupq_n_s8(127);
    int32_t c, tap;
    for (c = 0; c < l->channels; c += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(l->channels - c));
        const int8_t *w = l->params->weights + c;
        int16x8_t sum = vdupq_n_s16(0);
        int16_t sums[8];
        int32_t i;
        for (tap = 0; tap < l->taps; tap++, w += l->channels) {
            const int16x8_t values = vldrbq_z_s16(w, lanes);
            sum = vaddq_s16(sum, values);
            smallest = vminq_s8(smallest, vreinterpretq_s8_s16(values));
        }
        vstrhq_s16(sums, sum);
        for (i = 0; i < kt_minimum(l->channels - c, 8); i++) {
            initial[c + i] = offset * sums[i];
        }
    }
    return vminvq_s8(127, smallest) == -128;
}

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    int32_t initial[OWN_SUMS];
    int8_t line[CHANNELS];
    layer l;
    int fast;
    if (kt_depthwise_by_columns(params, x, bias, y)) {
        return;
    }
    l.params = params;
    l.initial = params->offset_sums;
    l.channels = window->output[KT_CHANNELS];
    l.taps = window->kernel[KT_Y] * window->kernel[KT_X];
    fast = params->depth_multiplier == 1 && l.channels <= CHANNELS && l.taps <= TAPS;
    if (fast && l.initial == NULL) {
        fast = l.channels <= OWN_SUMS && !initial_sums(&l, initial);
        l.initial = initial;
    }
    if (!fast) {
        kt_depthwise_walk(params, x, bias, y, kt_depthwise_position);
        return;
    }
    l.finish = kt_finish_of(bias, params->multiplier, params->shift, l.channels, params->output_offset, params->clamp);
    kt_fill_lanes(line, -params->input_offset, l.channels);
    walk(&l, x, line, y);
}
#endif
