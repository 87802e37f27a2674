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

static channel_sums frozen_sums(const kt_axis_meetings *rows, const kt_axis_meetings *columns, const operands *o, int32_t p)
{
    const int32_t factor0 = kt_prescale_factor(o->m[0], p), factor1 = kt_prescale_factor(o->m[1], p);
    const int32_t factor2 = kt_prescale_factor(o->m[2], p), factor3 = kt_prescale_factor(o->m[3], p);
    channel_sums s = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    int32_t i, j;
    for (i = 0; i < rows->count; i++) {
        for (j = 0; j < columns->count; j++) {
            const uint32_t gradient = kt_load_word(o->g + rows->gradient[i] + columns->gradient[j]);
            const uint32_t bytes = kt_load_word(o->weights + rows->weight[i] + columns->weight[j]);
            const uint32_t g02 = kt_even(gradient), g13 = kt_odd(gradient);
            const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
            s.frozen[0] = __smlabb(kt_doubled_low(factor0, g02) >> 1, w02, s.frozen[0]);
            s.frozen[1] = __smlabb(kt_doubled_low(factor1, g13) >> 1, w13, s.frozen[1]);
            s.frozen[2] = __smlabt(kt_doubled_high(factor2, g02) >> 1, w02, s.frozen[2]);
            s.frozen[3] = __smlabt(kt_doubled_high(factor3, g13) >> 1, w13, s.frozen[3]);
        }
    }
    return s;
}

static void add_path(const kt_axis_meetings *rows, const kt_axis_meetings *columns, const operands *o, channel_sums *sums)
{
    channel_sums s = *sums;
    int32_t i, j;
    for (i = 0; i < rows->count; i++) {
        for (j = 0; j < columns->count; j++) {
            const uint32_t gradient = kt_load_word(o->delta_g + rows->gradient[i] + columns->gradient[j]);
            const uint32_t bytes = kt_load_word(o->delta + rows->weight[i] + columns->weight[j]);
            const int32_t g02 = (int32_t)kt_even(gradient), g13 = (int32_t)kt_odd(gradient);
            const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
            s.path[0] = __smlabb(g02, w02, s.path[0]);
            s.path[1] = __smlabb(g13, w13, s.path[1]);
            s.path[2] = __smlatt(g02, w02, s.path[2]);
            s.path[3] = __smlatt(g13, w13, s.path[3]);
        }
    }
    *sums = s;
}

/* The same where only some channels have a delta; delta: from its first column on. */
static void add_path_of_some(const kt_depthwise_input_gradient_params *params, const kt_axis_meetings *rows, const kt_axis_meetings *columns,
                             const operands *o, int32_t c, channel_sums *sums)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t k, i, j;
    for (k = 0; k < 4; k++) {
        const int32_t column = params->rows[c + k];
        int32_t sum = 0;
        if (column < 0) {
            continue;
        }
        for (i = 0; i < rows->count; i++) {
            for (j = 0; j < columns->count; j++) {
                const int32_t tap = (rows->weight[i] + columns->weight[j]) / channels;
                sum += o->delta_g[rows->gradient[i] + columns->gradient[j] + k] * o->delta[tap * params->columns + column];
            }
        }
        sums->path[k] = sum;
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
    int32_t c, i;
    for (c = 0; c < channels; c += 4) {
        channel_sums sums = frozen_sums(rows, columns, &o, params->prescale_shift);
        if (params->rows == NULL) {
            add_path(rows, columns, &o, &sums);
            o.delta += 4;
        } else {
            add_path_of_some(params, rows, columns, &o, c, &sums);
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
