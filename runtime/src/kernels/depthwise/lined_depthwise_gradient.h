/* lined_depthwise_gradient.h: the gradient of a depthwise delta with three sums in two words (product/triple.h): three neighbouring taps of a window
 * along an axis make two words at each result of a line, which its gradient multiplies.
 *
 * At most 32 results are summed in words: 32 * 127 * 255 < 2^20. */
#ifndef KT_LINED_DEPTHWISE_GRADIENT_H
#define KT_LINED_DEPTHWISE_GRADIENT_H

#include "../../product/triple.h"
#include "depthwise_weight_gradient.h"

enum { KT_LINE_RESULTS = 32, KT_LINE_REACH = 128, KT_LANES = 3, KT_MOST_SUMS = 12 };

/* Whether lines lie down the image, where a window has one column. */
static inline int kt_lines_lie_down(const kt_window *window)
{
    return window->kernel[KT_X] == 1;
}

/* Whether the values under three taps of some results have room. */
static inline int kt_has_lined_taps(const kt_depthwise_weight_gradient_params *params)
{
    const int axis = kt_lines_lie_down(&params->window) ? KT_Y : KT_X;
    const int32_t reach = (KT_LINE_RESULTS - 1) * params->window.stride[axis] + (KT_LANES - 1) * params->window.dilation[axis] + 1;
    return params->depth_multiplier == 1 && reach <= KT_LINE_REACH;
}

/* So many values of a line from `first` on, without their zero point, 0 outside. */
static __attribute__((noinline)) void kt_line_values(const kt_depthwise_axis *along, const int8_t *x, int32_t offset, int32_t first, int32_t count, int16_t *values)
{
    const int32_t inside = kt_clamp(-first, 0, count), end = kt_clamp(along->inputs - first, inside, count), step = along->x_step;
    int32_t i;
    for (i = 0; i < inside; i++) {
        values[i] = 0;
    }
    for (x += (first + inside) * step; i < end; i++, x += step) {
        values[i] = (int16_t)(*x + offset);
    }
    for (; i < count; i++) {
        values[i] = 0;
    }
}

/* Taps whose sums are made of the same values: threes of them. */
static inline int32_t kt_taps_at_once(const kt_depthwise_axis *along)
{
    const int32_t room = (KT_LINE_REACH - 1 - (KT_LINE_RESULTS - 1) * along->stride) / along->dilation + 1;
    return kt_minimum(room, KT_MOST_SUMS) / KT_LANES * KT_LANES;
}

/* Adds the sums of so many results and of three taps each; value: of the first result and tap. */
static __attribute__((noinline)) void kt_add_results(const kt_depthwise_axis *along, const int8_t *g, const int16_t *value, int32_t count, int32_t sums[KT_LANES])
{
    const int32_t stride = along->stride, second = along->dilation, third = 2 * second, step = along->g_step;
    uint32_t found[2] = {0, 0};
    int32_t three[KT_LANES];
    for (; count > 0; count--, value += stride, g += step) {
        const uint32_t gradient = (uint32_t)*g, middle = (uint32_t)value[second];
        found[0] += ((uint32_t)value[0] + (middle << 10)) * gradient;
        found[1] += ((uint32_t)value[third] + (middle << 21)) * gradient;
    }
    kt_three_sums(found, three);
    sums[0] += three[0];
    sums[1] += three[1];
    sums[2] += three[2];
}

/* Adds the sums of `taps` taps from `tap` on over one line. */
static void kt_add_line(const kt_depthwise_axis *along, const int8_t *g, const int8_t *x, int32_t offset, int32_t tap, int32_t taps, int32_t *sums)
{
    int16_t values[KT_LINE_REACH];
    int32_t first, i;
    for (first = 0; first < along->outputs; first += KT_LINE_RESULTS) {
        const int32_t count = kt_minimum(along->outputs - first, KT_LINE_RESULTS);
        const int32_t start = first * along->stride - along->pad + tap * along->dilation;
        kt_line_values(along, x, offset, start, (count - 1) * along->stride + (taps - 1) * along->dilation + 1, values);
        for (i = 0; i < taps; i += KT_LANES) {
            kt_add_results(along, g + first * along->g_step, values + i * along->dilation, count, sums + i);
        }
    }
}

/* One channel and one line of taps, whose first entry of the accumulator is given. g, x: of the channel. */
static void kt_channel_of_lines(const kt_depthwise_weight_gradient_params *params, const kt_depthwise_axis *along, const kt_depthwise_axis *across,
                                int32_t line, const int8_t *g, const int8_t *x, float scale, float *entry)
{
    const int32_t most = kt_taps_at_once(along);
    int32_t tap, o, i;
    for (tap = 0; tap < along->taps; tap += most) {
        const int32_t left = kt_minimum(along->taps - tap, most);
        int32_t sums[KT_MOST_SUMS] = {0};
        for (o = 0; o < across->outputs; o++) {
            const int32_t input = o * across->stride - across->pad + line * across->dilation;
            if (kt_within(input, across->inputs)) {
                const int32_t taps = (left + KT_LANES - 1) / KT_LANES * KT_LANES;
                kt_add_line(along, g + o * across->g_step, x + input * across->x_step, params->input_offset, tap, taps, sums);
            }
        }
        for (i = 0; i < left; i++, entry += params->columns) {
            *entry = kt_accumulate(*entry, sums[i], scale);
        }
    }
}

static inline void kt_lined_depthwise_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale,
                                               float *accumulator)
{
    const kt_window *const window = &params->window;
    const int down = kt_lines_lie_down(window);
    const kt_depthwise_axis along = kt_depthwise_axis_of(window, down ? KT_Y : KT_X), across = kt_depthwise_axis_of(window, down ? KT_X : KT_Y);
    int32_t c, line;
    for (c = 0; c < window->output[KT_CHANNELS]; c++) {
        const int32_t column = kt_delta_column(params, c);
        for (line = 0; line < across.taps && column >= 0; line++) {
            float *const entry = accumulator + line * along.taps * params->columns + column;
            kt_channel_of_lines(params, &along, &across, line, g + c, x + c, scale, entry);
        }
    }
}

#endif
