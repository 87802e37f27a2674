/* packed_depthwise.h: depthwise convolutions of any window from packed weights, four channels at a time. */
#ifndef KT_PACKED_DEPTHWISE_H
#define KT_PACKED_DEPTHWISE_H

#include "kt/kernels/packed_depthwise.h"
#include "../../product/halves.h"
#include "../packed_convolution/packed_gain.h"
#include "../window.h"

/* What the sums start from; scratch: of [channels], for a trained bias. */
KT_INLINE const int32_t *kt_depthwise_starts(const kt_packed_depthwise_params *params, const int32_t *bias, int32_t *scratch)
{
    return kt_packed_bias(bias, params->fold, params->bias_limit, params->window.input[KT_CHANNELS], scratch);
}

/* The same with their requantisation, of a layer with gains (packed_gain.h). */
static inline void kt_depthwise_gained(const kt_packed_depthwise_params *params, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int32_t *starts)
{
    const int32_t weights = 2 * params->window.kernel[KT_Y] * params->window.kernel[KT_X];
    const kt_epilogue_places epilogues = {params->stream + weights, weights + KT_EPILOGUE, 3};
    kt_gained_starts(&epilogues, bias, params->fold, params->bias_limit, gain, gain_exponent, params->window.input[KT_CHANNELS], starts);
}

/* Four sums: of four channels, or of two by two positions. */
typedef struct {
    int32_t a, b, c, d;
} kt_four_sums;

/* One tap: its values as the pairs of the first and third channel, and of the second and fourth. */
KT_INLINE kt_four_sums kt_with_tap(kt_four_sums sums, int32_t even, int32_t odd, const int32_t *weights)
{
    sums.a = kt_add_low(sums.a, even, weights[0]);
    sums.c = kt_add_high(sums.c, even, weights[0]);
    sums.b = kt_add_low(sums.b, odd, weights[1]);
    sums.d = kt_add_high(sums.d, odd, weights[1]);
    return sums;
}

/* A window inside the image; taps: of a row, which the caller knows, so that the loop over them is unrolled. step, next: bytes from tap
 * to tap and from row to row. */
KT_INLINE kt_four_sums kt_with_taps(kt_four_sums sums, const int8_t *x, int32_t rows, int32_t taps, int32_t step,
                                    int32_t next, const int32_t *weights)
{
    int32_t row, tap, even, odd;
    for (row = rows; row > 0; row--, x += next) {
        const int8_t *at = x;
#pragma GCC unroll 7
        for (tap = 0; tap < taps; tap++, at += step, weights += 2) {
            kt_split_four(at, &even, &odd);
            sums = kt_with_tap(sums, even, odd, weights);
        }
    }
    return sums;
}

/* Taps outside the image: they read its zero point. */
KT_INLINE kt_four_sums kt_with_outside(kt_four_sums sums, int32_t pair, int32_t taps, const int32_t **weights)
{
    const int32_t *w = *weights;
    for (; taps > 0; taps--, w += 2) {
        sums = kt_with_tap(sums, pair, pair, w);
    }
    *weights = w;
    return sums;
}

/* A window that the border cuts: rows and columns are its taps inside; x points to the first of them. */
KT_INLINE kt_four_sums kt_cut_taps_of(kt_four_sums sums, const kt_window *window, int32_t outside, const int8_t *x,
                                      kt_taps rows, kt_taps columns, int32_t step, int32_t next,
                                      const int32_t *weights)
{
    const int32_t pair = kt_pair_of(outside, outside);
    const int32_t taps = window->kernel[KT_X];
    const int32_t after = taps - columns.first - columns.count;
    int32_t row, tap, even, odd;
    sums = kt_with_outside(sums, pair, rows.first * taps, &weights);
    for (row = rows.count; row > 0; row--, x += next) {
        const int8_t *at = x;
        sums = kt_with_outside(sums, pair, columns.first, &weights);
        for (tap = columns.count; tap > 0; tap--, at += step, weights += 2) {
            kt_split_four(at, &even, &odd);
            sums = kt_with_tap(sums, even, odd, weights);
        }
        sums = kt_with_outside(sums, pair, after, &weights);
    }
    return kt_with_outside(sums, pair, (window->kernel[KT_Y] - rows.first - rows.count) * taps, &weights);
}

static inline kt_four_sums kt_with_cut_taps(kt_four_sums sums, const kt_window *window, int32_t outside, const int8_t *x,
                                            kt_taps rows, kt_taps columns, int32_t step, int32_t next,
                                            const int32_t *weights)
{
    return kt_cut_taps_of(sums, window, outside, x, rows, columns, step, next, weights);
}

KT_INLINE int8_t kt_depthwise_result(int32_t sum, const int32_t *epilogue, int32_t negative)
{
    return kt_short_requantize(sum, epilogue[0], epilogue[1] - ((sum >> 31) & negative), epilogue[2]);
}

/* The last channels of layers in which they are no multiple of four: four whole ones, and once more the last four. Both are read before
 * either is written. at, y, start, stream: of the first. */
static __attribute__((noinline)) void kt_packed_depthwise_last(const kt_packed_depthwise_params *params, const int8_t *at, const int32_t *start,
                                                               const int32_t *stream, kt_taps ys, kt_taps xs, int8_t *y, int32_t negative)
{
    const kt_window *const window = &params->window;
    const int32_t step = window->dilation[KT_X] * window->input[KT_CHANNELS];
    const int32_t next = window->dilation[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t rest = window->input[KT_CHANNELS] % KT_QUAD;
    int8_t results[2][KT_QUAD];
    int32_t i;
    for (i = 0; i < 2; i++, at += rest, start += rest, stream += KT_EPILOGUE) {
        kt_four_sums sums = {start[0], start[1], start[2], start[3]};
        sums = kt_with_cut_taps(sums, window, params->outside, at, ys, xs, step, next, stream);
        stream += 2 * window->kernel[KT_Y] * window->kernel[KT_X];
        results[i][0] = kt_depthwise_result(sums.a, stream, negative);
        results[i][1] = kt_depthwise_result(sums.b, stream + 3, negative);
        results[i][2] = kt_depthwise_result(sums.c, stream + 6, negative);
        results[i][3] = kt_depthwise_result(sums.d, stream + 9, negative);
    }
    memcpy(y, results[0], KT_QUAD);
    memcpy(y + rest, results[1], KT_QUAD);
}

/* All channels of one position, whose taps inside the image are given. negative: what a negative sum takes from the addend; scaled: the
 * requantisation stands behind the bias (packed_gain.h), and channels are a multiple of four. */
KT_INLINE void kt_packed_depthwise_position(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, kt_taps ys,
                                            kt_taps xs, int8_t *y, int32_t negative, int scaled)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t rows = window->kernel[KT_Y], taps = window->kernel[KT_X];
    const int32_t step = window->dilation[KT_X] * channels;
    const int32_t next = window->dilation[KT_Y] * window->input[KT_X] * channels;
    const int inside = ys.count == rows && xs.count == taps;
    const int8_t *at = x + (ys.index * window->input[KT_X] + xs.index) * channels;
    const int32_t *stream = params->stream;
    const int32_t rest = channels % KT_QUAD;
    int8_t *const end = y + (rest > 0 ? channels - rest - KT_QUAD : channels);
    for (; y != end; at += KT_QUAD, y += KT_QUAD, bias += scaled ? KT_QUAD + KT_EPILOGUE : KT_QUAD, stream += KT_EPILOGUE) {
        const int32_t *epilogue;
        kt_four_sums sums = {bias[0], bias[1], bias[2], bias[3]};
        if (!inside) {
            sums = kt_with_cut_taps(sums, window, params->outside, at, ys, xs, step, next, stream);
        } else if (taps == 3) {
            sums = kt_with_taps(sums, at, rows, 3, step, next, stream);
        } else if (taps == 5) {
            sums = kt_with_taps(sums, at, rows, 5, step, next, stream);
        } else if (taps == 7) {
            sums = kt_with_taps(sums, at, rows, 7, step, next, stream);
        } else if (taps == 1) { /* a column's taps are those of a row, further apart */
            sums = kt_with_taps(sums, at, 1, rows, next, 0, stream);
        } else {
            sums = kt_with_taps(sums, at, rows, taps, step, next, stream);
        }
        stream += 2 * rows * taps;
        epilogue = scaled ? bias + KT_QUAD : stream;
        y[0] = kt_depthwise_result(sums.a, epilogue, negative);
        y[1] = kt_depthwise_result(sums.b, epilogue + 3, negative);
        y[2] = kt_depthwise_result(sums.c, epilogue + 6, negative);
        y[3] = kt_depthwise_result(sums.d, epilogue + 9, negative);
    }
    if (rest > 0) {
        kt_packed_depthwise_last(params, at, bias, stream, ys, xs, y, negative);
    }
}

/* Sums of two channels of four, the first and third or the second and fourth, at two positions. */
typedef struct {
    int32_t first[2], second[2];
} kt_two_by_two;

#if KT_DSP && defined(__OPTIMIZE__) /* too few registers without */
/* One tap of two positions: `here` are the values of the first, those of the second are loaded. */
#define KT_TAP_OF_TWO(here, below, turn) \
    "add %[x], %[x], %[step]\n\t" \
    "ldr %[" below "], [%[x]]\n\t" \
    "ldr %[weight], [%[weights]], #8\n\t" \
    "sxtb16 %[" below "], %[" below "]" turn "\n\t" \
    "smlabb %[a0], %[" here "], %[weight], %[a0]\n\t" \
    "smlatt %[b0], %[" here "], %[weight], %[b0]\n\t" \
    "smlabb %[a1], %[" below "], %[weight], %[a1]\n\t" \
    "smlatt %[b1], %[" below "], %[weight], %[b1]\n\t"
#define KT_ROW_OF_TWO(turn) \
    __asm__ volatile("ldr %[here], [%[x]]\n\t" \
                     "sxtb16 %[here], %[here]" turn "\n\t" \
                     "lsrs %[n], %[taps], #1\n\t" \
                     "beq 2f\n" \
                     "1:\n\t" \
                     KT_TAP_OF_TWO("here", "below", turn) \
                     KT_TAP_OF_TWO("below", "here", turn) \
                     "subs %[n], %[n], #1\n\t" \
                     "bne 1b\n" \
                     "2:\n\t" \
                     "lsls %[n], %[taps], #31\n\t" \
                     "beq 3f\n\t" \
                     KT_TAP_OF_TWO("here", "below", turn) \
                     "3:\n" \
                     : [a0] "+r"(a0), [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [x] "+r"(x), [weights] "+r"(weights), \
                       [here] "=&r"(here), [below] "=&r"(below), [weight] "=&r"(weight), [n] "=&r"(n) \
                     : [step] "r"(step), [taps] "r"(taps) \
                     : "cc", "memory")

/* A row of taps `step` bytes apart, which is how far the two positions are apart, too. odd: of the second and fourth channel. */
KT_INLINE kt_two_by_two kt_row_of_two(kt_two_by_two sums, const int8_t *x, int32_t taps, int32_t step, const int32_t *weights, int odd)
{
    int32_t a0 = sums.first[0], a1 = sums.first[1], b0 = sums.second[0], b1 = sums.second[1], here, below, weight, n;
    if (odd) {
        KT_ROW_OF_TWO(", ror #8");
    } else {
        KT_ROW_OF_TWO("");
    }
    sums.first[0] = a0, sums.first[1] = a1, sums.second[0] = b0, sums.second[1] = b1;
    return sums;
}
#else
KT_INLINE kt_two_by_two kt_row_of_two(kt_two_by_two sums, const int8_t *x, int32_t taps, int32_t step, const int32_t *weights, int odd)
{
    for (; taps > 0; taps--, x += step, weights += 2) {
        sums.first[0] += x[odd] * kt_low(*weights);
        sums.first[1] += x[step + odd] * kt_low(*weights);
        sums.second[0] += x[2 + odd] * kt_high(*weights);
        sums.second[1] += x[step + 2 + odd] * kt_high(*weights);
    }
    return sums;
}
#endif

/* Taps of two windows of one row or column: `step` bytes from tap to tap and from the first window to the second. Channels are walked as positions
 * are: forwards or backwards. */
typedef struct {
    int32_t taps, step, direction;
} kt_two_windows;

/* One channel of two positions. */
KT_INLINE void kt_two_results(int32_t first, int32_t second, const int32_t *epilogue, int8_t *y, int32_t distance, int32_t negative)
{
    const int32_t multiplier = epilogue[0], addend = epilogue[1], shift = epilogue[2];
    const int8_t result = kt_short_requantize(first, multiplier, addend - ((first >> 31) & negative), shift);
    y[distance] = kt_short_requantize(second, multiplier, addend - ((second >> 31) & negative), shift);
    *y = result;
}

/* Two channels of four at two positions. */
KT_INLINE void kt_two_channels(kt_two_windows windows, const int8_t *x, const int32_t *start, const int32_t *weights,
                               const int32_t *epilogue, int8_t *y, int32_t distance, int32_t negative, int odd)
{
    kt_two_by_two sums = {{start[odd], start[odd]}, {start[odd + 2], start[odd + 2]}};
    sums = kt_row_of_two(sums, x, windows.taps, windows.step, weights + odd, odd);
    epilogue += 3 * odd;
    kt_two_results(sums.first[0], sums.first[1], epilogue, y + odd, distance, negative);
    kt_two_results(sums.second[0], sums.second[1], epilogue + 6, y + odd + 2, distance, negative);
}

/* All channels of two positions whose windows lie inside the image, `step` apart; at, y: the first value of the first.
 *
 * A result may lie over the operand as near as `Op.reach` says: no position is written over what itself or one behind it reads. So what is written
 * too early here, of the second position, lies over the outermost tap of the first, at channels that have read it: not before them where results
 * lie below, not behind them where they lie above. */
static __attribute__((noinline)) void kt_packed_depthwise_two(const kt_packed_depthwise_params *params, const kt_two_windows *windows,
                                                              const int8_t *at, const int32_t *bias, int8_t *y, int32_t negative, int scaled)
{
    const kt_two_windows both = *windows;
    const int32_t channels = params->window.input[KT_CHANNELS], weights = 2 * both.taps;
    const int32_t step = both.direction * KT_QUAD, next_stream = both.direction * (weights + KT_EPILOGUE);
    const int32_t next_bias = scaled ? both.direction * (KT_QUAD + KT_EPILOGUE) : step;
    const int32_t *stream = params->stream;
    int32_t left = channels / KT_QUAD;
    if (both.direction < 0) { /* from the last four channels on */
        at += channels - KT_QUAD;
        y += channels - KT_QUAD;
        stream -= (left - 1) * next_stream;
        bias -= (left - 1) * next_bias;
    }
    for (;;) {
        const int32_t *const epilogue = scaled ? bias + KT_QUAD : stream + weights;
        kt_two_channels(both, at, bias, stream, epilogue, y, channels, negative, 0);
        kt_two_channels(both, at, bias, stream, epilogue, y, channels, negative, 1);
        if (--left == 0) {
            break;
        }
        at += step;
        y += step;
        stream += next_stream;
        bias += next_bias;
    }
}

/* All channels of one position among such pairs: at the border, or the last one. */
static __attribute__((noinline)) void kt_packed_depthwise_single(const kt_packed_depthwise_params *params, const int8_t *at, const int32_t *bias,
                                                                 kt_taps ys, kt_taps xs, int8_t *y, int32_t negative, int scaled)
{
    const kt_window *const window = &params->window;
    const int32_t step = window->dilation[KT_X] * window->input[KT_CHANNELS];
    const int32_t next = window->dilation[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t weights = 2 * window->kernel[KT_Y] * window->kernel[KT_X];
    const int32_t *stream = params->stream;
    int8_t *const end = y + window->input[KT_CHANNELS];
    for (; y != end; at += KT_QUAD, y += KT_QUAD, stream += weights + KT_EPILOGUE) {
        const int32_t *const epilogue = scaled ? bias + KT_QUAD : stream + weights;
        kt_four_sums sums = {bias[0], bias[1], bias[2], bias[3]};
        sums = kt_cut_taps_of(sums, window, params->outside, at, ys, xs, step, next, stream);
        y[0] = kt_depthwise_result(sums.a, epilogue, negative);
        y[1] = kt_depthwise_result(sums.b, epilogue + 3, negative);
        y[2] = kt_depthwise_result(sums.c, epilogue + 6, negative);
        y[3] = kt_depthwise_result(sums.d, epilogue + 9, negative);
        bias += scaled ? KT_QUAD + KT_EPILOGUE : KT_QUAD;
    }
}

/* The axis along which neighbours share their taps, so that two are computed together; KT_CHANNELS: none. Windows of several rows gain nothing. */
static inline int kt_shared_axis(const kt_window *window)
{
    const int column = window->input[KT_X] == 1 && window->kernel[KT_X] == 1 && window->output[KT_X] == 1;
    const int axis = column ? KT_Y : KT_X;
    const int shared = window->kernel[column ? KT_X : KT_Y] == 1 && window->kernel[axis] > 1 && window->stride[axis] == window->dilation[axis];
    const int32_t free = window->input[axis] - (window->kernel[axis] - 1) * window->dilation[axis]; /* windows of stride 1 inside the image */
    return shared && free > 1 && 2 * free > window->output[axis] && window->input[KT_CHANNELS] % KT_QUAD == 0 ? axis : KT_CHANNELS;
}

/* Whether the window of the next result of an axis in this direction lies inside the image, as that of `output` does. */
static inline int kt_has_next(const kt_window *window, int axis, int32_t output, int32_t direction)
{
    const int32_t first = (output + direction) * window->stride[axis] - window->pad[axis];
    const int32_t last = first + (window->kernel[axis] - 1) * window->dilation[axis];
    return kt_within(output + direction, window->output[axis]) && first >= 0 && last < window->input[axis];
}

/* The walk of a layer whose neighbours along `axis` share taps. Apart from that of others, which it would slow down. */
static __attribute__((noinline)) void kt_packed_depthwise_pairs(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *start,
                                                                int8_t *y, int32_t negative, int scaled, int axis)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t height = window->output[KT_Y], width = window->output[KT_X], line = window->input[KT_X] * channels;
    const int32_t direction = kt_direction(x, y), back = direction > 0 ? 0 : 1; /* of two, the one in front is the first */
    const kt_two_windows two = {window->kernel[axis], window->dilation[axis] * (axis == KT_Y ? line : channels), direction};
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            const int8_t *const at = x + rows.index * line + columns.index * channels;
            int8_t *const result = y + (oy * width + ox) * channels;
            if (rows.count != window->kernel[KT_Y] || columns.count != window->kernel[KT_X] ||
                !kt_has_next(window, axis, axis == KT_Y ? oy : ox, direction)) {
                kt_packed_depthwise_single(params, at, start, rows, columns, result, negative, scaled);
                continue;
            }
            kt_packed_depthwise_two(params, &two, at - back * two.step, start, result - back * channels, negative, scaled);
            if (axis == KT_Y) {
                oy += direction;
            } else {
                ox += direction;
            }
        }
    }
}

/* The walk of all other layers. Apart too, so that no call has both on its stack. */
static __attribute__((noinline)) void kt_packed_depthwise_positions(const kt_packed_depthwise_params *params, const int8_t *x,
                                                                    const int32_t *start, int8_t *y, int32_t negative, int scaled)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t height = window->output[KT_Y], width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            kt_taps columns = kt_taps_at(window, KT_X, ox);
            int8_t *const result = y + (oy * width + ox) * channels;
            kt_packed_depthwise_position(params, x, start, rows, columns, result, negative, scaled);
        }
    }
}

/* start: of the sums, with their requantisation where `scaled`. */
KT_INLINE void kt_packed_depthwise_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *start, int8_t *y,
                                        int32_t negative, int scaled)
{
    const int axis = kt_shared_axis(&params->window);
    if (axis == KT_CHANNELS) {
        kt_packed_depthwise_positions(params, x, start, y, negative, scaled);
    } else {
        kt_packed_depthwise_pairs(params, x, start, y, negative, scaled, axis);
    }
}

#endif
