/* kt_depthwise_delta_input_gradient_s8 for the DSP extension: with scratch a channel of a row at a time (row_sums.h), as the layer with its kernel
 * turned round over gradients that stand as far apart as its stride. Without, four channels at a time, whose sums of both kinds stay in registers over
 * all taps. Where only some channels have a delta its sums are taken one by one. Results of several channels for one input and gains go to the
 * portable code. */
#include "../depthwise_delta_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "meetings.h"
#include "row_sums.h"

/* Four channels; all pointers to the first of them, m: their prescale. */
typedef struct {
    const int8_t *g, *delta_g, *weights, *delta;
    const int16_t *m;
} operands;

typedef struct {
    int32_t frozen[4], path[4];
} channel_sums;

/* The taps that a position meets: offsets of gradients and weights, and which taps they are. */
enum { MOST_TAPS = KT_TAPS * KT_TAPS };
typedef struct {
    int32_t count;
    int32_t gradient[MOST_TAPS], weight[MOST_TAPS];
} taps;

static void meet(const kt_axis_meetings *rows, const kt_axis_meetings *columns, taps *met)
{
    int32_t i, j, count = 0;
    for (i = 0; i < rows->count; i++) {
        for (j = 0; j < columns->count; j++, count++) {
            met->gradient[count] = rows->gradient[i] + columns->gradient[j];
            met->weight[count] = rows->weight[i] + columns->weight[j];
        }
    }
    met->count = count;
}

static __attribute__((noinline)) void frozen_sums(const taps *met, const operands *o, int32_t p, int32_t sums[4])
{
    const int32_t factor0 = kt_prescale_factor(o->m[0], p), factor1 = kt_prescale_factor(o->m[1], p);
    const int32_t factor2 = kt_prescale_factor(o->m[2], p), factor3 = kt_prescale_factor(o->m[3], p);
    const int8_t *const g = o->g, *const weights = o->weights;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0, i;
    for (i = met->count - 1; i >= 0; i--) {
        const uint32_t gradient = kt_load_word(g + met->gradient[i]), bytes = kt_load_word(weights + met->weight[i]);
        const uint32_t g02 = kt_even(gradient), g13 = kt_odd(gradient);
        const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
        sum0 = __smlabb(kt_doubled_low(factor0, g02) >> 1, w02, sum0);
        sum1 = __smlabb(kt_doubled_low(factor1, g13) >> 1, w13, sum1);
        sum2 = __smlabt(kt_doubled_high(factor2, g02) >> 1, w02, sum2);
        sum3 = __smlabt(kt_doubled_high(factor3, g13) >> 1, w13, sum3);
    }
    sums[0] = sum0, sums[1] = sum1, sums[2] = sum2, sums[3] = sum3;
}

static __attribute__((noinline)) void path_sums(const taps *met, const operands *o, int32_t sums[4])
{
    const int8_t *const g = o->delta_g, *const delta = o->delta;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0, i;
    for (i = met->count - 1; i >= 0; i--) {
        const uint32_t gradient = kt_load_word(g + met->gradient[i]), bytes = kt_load_word(delta + met->weight[i]);
        const int32_t g02 = (int32_t)kt_even(gradient), g13 = (int32_t)kt_odd(gradient);
        const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
        sum0 = __smlabb(g02, w02, sum0);
        sum1 = __smlabb(g13, w13, sum1);
        sum2 = __smlatt(g02, w02, sum2);
        sum3 = __smlatt(g13, w13, sum3);
    }
    sums[0] = sum0, sums[1] = sum1, sums[2] = sum2, sums[3] = sum3;
}

/* The same where only some channels have a delta; delta: from its first column on. */
static void path_sums_of_some(const kt_depthwise_input_gradient_params *params, const taps *met, const operands *o, int32_t c, int32_t sums[4])
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t k, i;
    for (k = 0; k < 4; k++) {
        const int32_t column = params->rows[c + k];
        sums[k] = 0;
        for (i = column < 0 ? met->count : 0; i < met->count; i++) {
            sums[k] += o->delta_g[met->gradient[i] + k] * o->delta[met->weight[i] / channels * params->columns + column];
        }
    }
}

/* kt_depthwise_delta_result; the usual shifts leave no more than the addend's limit. */
static inline int8_t result_of(const kt_depthwise_input_gradient_params *params, int32_t frozen, int32_t path, int32_t path_shift)
{
    if ((uint32_t)(-path_shift - 1) < 31 && (uint32_t)(params->shift - 1) < 31) {
        return kt_rounded8(__qadd(frozen, kt_requantize_right(path, params->path_multiplier, -path_shift)), params->shift);
    }
    return kt_depthwise_delta_result(params, frozen, path, path_shift);
}

/* All channels of one position. */
static void position(const kt_depthwise_input_gradient_params *params, const kt_axis_meetings *rows,
                     const kt_axis_meetings *columns, const operands *all, int32_t path_shift, int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    operands o = *all;
    taps met;
    int32_t c, i;
    meet(rows, columns, &met);
    for (c = 0; c < channels; c += 4) {
        channel_sums sums;
        frozen_sums(&met, &o, params->prescale_shift, sums.frozen);
        if (params->rows == NULL) {
            path_sums(&met, &o, sums.path);
            o.delta += 4;
        } else {
            path_sums_of_some(params, &met, &o, c, sums.path);
        }
        for (i = 0; i < 4; i++) {
            *dx++ = result_of(params, sums.frozen[i], sums.path[i], path_shift);
        }
        o.g += 4;
        o.delta_g += 4;
        o.weights += 4;
        o.m += 4;
    }
}

/* -- rows ---------------------------------------------------------------------------------------------------- */

/* What makes gradients of sums. up: of the delta's sum, 1 or more; sign: all bits where a negative product rounds in another way, which is where
 * it is shifted down; before: the last shift less one. */
typedef struct {
    int32_t multiplier, half, down, before;
    int32_t sign, up;
} rounding;

enum { MOST_UP = 10 }; /* sums of KT_ROW_TAPS * KT_ROW_TAPS products of codes have 21 bits, and twice as many is an int32 */

/* The sums of a block to gradients, which gcc would compute from values in memory. Those of the delta are 256 bytes behind the others. */
static __attribute__((naked, noinline)) void finish_block(const rounding *of __attribute__((unused)), const int32_t *sums __attribute__((unused)),
                                                          int8_t *dx __attribute__((unused)), kt_block_results *to __attribute__((unused)))
{
    __asm__ volatile("push {r3-r11, lr}\n\t" /* where they go at sp */
                     "ldm r0, {r4-r7, r9, r10}\n\t"
                     "mov r8, #1\n\t"
                     "1:\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldr r0, [r3]\n\t"      /* step */
                     "ldr r3, [r3, #12]\n\t" /* count */
                     "2:\n\t"
                     "ldr r11, [r1, #256]\n\t"
                     "ldr r12, [r1], #4\n\t"
                     "lsl r11, r10\n\t"
                     "smmlar lr, r11, r4, r5\n\t"
                     "and r11, r9, r11, asr #31\n\t"
                     "add lr, r11\n\t"
                     "asr lr, r6\n\t"
                     "qadd r12, r12, lr\n\t"
                     "asr r12, r7\n\t"
                     "qadd r12, r12, r8\n\t"
                     "ssat r12, #8, r12, asr #1\n\t"
                     "qsub8 r12, r12, r8\n\t" /* one less and one more, of which the first saturates */
                     "add r12, r8\n\t"
                     "strb r12, [r2]\n\t"
                     "add r2, r0\n\t"
                     "subs r3, #1\n\t"
                     "bne 2b\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldrd r0, r11, [r3, #4]\n\t" /* skip, rows left */
                     "add r2, r0\n\t"
                     "ldr r12, [r3, #12]\n\t"
                     "and r12, #1\n\t"
                     "add r1, r1, r12, lsl #2\n\t"
                     "subs r11, #1\n\t"
                     "str r11, [r3, #8]\n\t"
                     "bne 1b\n\t"
                     "pop {r3-r11, pc}");
}

/* The same by the meaning of each step. */
static __attribute__((noinline)) void finish_any(const kt_depthwise_input_gradient_params *params, const int32_t *sums, int32_t path_shift,
                                                 int8_t *dx, const kt_block_results *to)
{
    int32_t rows, i;
    for (rows = to->rows; rows > 0; rows--, dx += to->skip, sums += to->count & 1) {
        for (i = to->count; i > 0; i--, dx += to->step, sums++) {
            *dx = kt_depthwise_delta_result(params, sums[0], sums[KT_ROW_RESULTS], path_shift);
        }
    }
}

/* What the rows of a channel are made of: gradients scaled and as they are, the window over both. */
typedef struct {
    const int16_t *scaled, *plain;
    const kt_row_window *window;
    const int8_t *delta;
    int32_t path_shift;
} rows_of_channel;

/* Rows of gradients of channel c. */
static __attribute__((noinline)) void channel_rows(const kt_depthwise_input_gradient_params *params, const rows_of_channel *of, int32_t c,
                                                   int32_t rows, int8_t *dx)
{
    const kt_row_window *const w = of->window;
    const int32_t channels = params->window.input[KT_CHANNELS], width = params->window.input[KT_X];
    const int32_t column = params->rows == NULL ? c : params->rows[c], last = w->kernel[0] * w->kernel[1] - 1;
    const int32_t down = -of->path_shift, before = params->shift - 1;
    const int usual = down > -MOST_UP && down < 32 && (uint32_t)before < 31;
    const rounding steps = {params->path_multiplier, usual && down > 0 ? (int32_t)(UINT32_C(1) << (down - 1)) : 0, kt_maximum(down, 0), before,
                            down > 0 ? -1 : 0, 1 + kt_maximum(-down, 0)};
    uint32_t weights[KT_ROW_PAIRS], codes[KT_ROW_PAIRS];
    int32_t sums[2 * KT_ROW_RESULTS];
    kt_row_block block;
    int32_t row, first;
    kt_pair_weights(params->weights + last * channels + c, w->kernel, -channels, -w->kernel[1] * channels, weights);
    if (column >= 0) {
        kt_pair_weights(of->delta + last * params->columns + column, w->kernel, -params->columns, -w->kernel[1] * params->columns, codes);
    } else {
        memset(sums + KT_ROW_RESULTS, 0, KT_ROW_RESULTS * sizeof *sums);
    }
    for (first = 0; first < width; first += block.count) {
        for (row = 0; row < rows; row += block.rows) {
            kt_block_results to;
            block = kt_row_block_of(w, of->scaled + row * w->width, rows - row, first, width - first);
            to = kt_block_results_of(&block, width, channels);
            kt_sum_block(w, &block, weights, sums);
            if (column >= 0) {
                block.x += of->plain - of->scaled;
                kt_sum_block(w, &block, codes, sums + KT_ROW_RESULTS);
            }
            if (usual) {
                finish_block(&steps, sums, dx + (row * width + first) * channels, &to);
            } else {
                finish_any(params, sums, of->path_shift, dx + (row * width + first) * channels, &to);
            }
        }
    }
}

/* Bands of gradients, as many rows at a time as scratch has room for. */
static void in_bands(const kt_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *delta, int32_t path_shift, int8_t *dx,
                     int16_t *buffer)
{
    const kt_window *const window = &params->window;
    const int32_t height = params->band_rows, bands = (window->input[KT_Y] + height - 1) / height, stride = window->stride[KT_X];
    const int32_t channels = window->input[KT_CHANNELS], direction = kt_direction(g, dx);
    const int32_t left = window->kernel[KT_X] - 1 - window->pad[KT_X], above = window->kernel[KT_Y] - 1 - window->pad[KT_Y];
    const int32_t reach = left + (window->output[KT_X] - 1) * stride + 1;
    const kt_row_window w = kt_row_window_of(window->kernel, 1, window->input[KT_X], height, reach);
    const kt_row_source plain = {g, {window->output[KT_Y], window->output[KT_X]}, channels, stride, left, 0, 0, NULL, 0};
    const int32_t plane = w.width * w.height;
    rows_of_channel of = {NULL, NULL, &w, delta, path_shift};
    kt_row_source scaled = plain;
    int32_t moved = 0, band, c;
    scaled.prescale = params->prescale;
    scaled.prescale_shift = params->prescale_shift;
    for (band = kt_first(direction, bands); kt_within(band, bands); band += direction) {
        const int32_t y = band * height, rows = kt_minimum(window->input[KT_Y] - y, height);
        int8_t *const result = dx + y * window->input[KT_X] * channels;
        kt_unzip_band(&scaled, &w, y - above, moved, rows, buffer);
        kt_unzip_band(&plain, &w, y - above, moved, rows, buffer + channels * plane);
        moved = direction * height;
        for (c = 0; c < channels; c++) {
            of.scaled = buffer + c * plane;
            of.plain = of.scaled + channels * plane;
            channel_rows(params, &of, c, rows, result + c);
        }
    }
}

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t path_shift = params->path_shift + *delta_exponent;
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    const int fours = params->depth_multiplier == 1 && channels % 4 == 0;
    const operands o = {g, delta_g, params->weights, delta, params->prescale};
    kt_axis_meetings rows, columns;
    int32_t y, x;
    if (params->band_rows > 0) {
        in_bands(params, g, delta, path_shift, dx, scratch);
        return;
    }
    if (!fours || gain != NULL || !kt_has_prescale(params->prescale_shift) || !kt_meetings_fit(window)) {
        kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, path_shift, dx, (int32_t *)scratch);
        return;
    }
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        kt_meet(window, KT_Y, y, window->output[KT_X] * channels, window->kernel[KT_X] * channels, &rows);
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            kt_meet(window, KT_X, x, channels, channels, &columns);
            position(params, &rows, &columns, &o, path_shift, dx + (y * window->input[KT_X] + x) * channels);
        }
    }
}

#endif
