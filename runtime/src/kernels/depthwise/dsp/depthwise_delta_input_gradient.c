/* kt_depthwise_delta_input_gradient_s8 for the DSP extension: four channels at a time, whose sums of both kinds stay in registers over
 * all taps. Where only some channels have a delta its sums are taken one by one. Results of several channels for one input and gains go to the
 * portable code. */
#include "../depthwise_delta_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "meetings.h"
#include "../../dsp/prescale.h"

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
