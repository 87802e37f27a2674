/* kt_depthwise_delta_input_gradient_s8 on cores with Helium: eight channels at a time, whose sums of both kinds grow in one loop. The pre-scaling is
 * that of depthwise_input_gradient.c; where its shift is another one channels are taken four at a time. Results of several channels for one input,
 * and gains, take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_delta_input_gradient.h"
#include "../dsp/meetings.h"
#include "../../mve/gradient_lanes.h"
#include "../../mve/lanes.h"

typedef struct {
    const int8_t *g, *delta_g, *delta;
    int32_t path_shift;
} operands;

/* What a position meets, tap by tap. */
enum { MOST_TAPS = 49 };
typedef struct {
    int32_t count;
    int32_t gradient[MOST_TAPS], weight[MOST_TAPS], delta[MOST_TAPS];
} taps;

static void meet(const kt_axis_meetings *rows, const kt_axis_meetings *columns, int32_t channels, int32_t delta_columns, taps *met)
{
    int32_t i, j, count = 0;
    for (i = 0; i < rows->count; i++) {
        for (j = 0; j < columns->count; j++, count++) {
            const int32_t tap = rows->weight[i] + columns->weight[j];
            met->gradient[count] = rows->gradient[i] + columns->gradient[j];
            met->weight[count] = tap * channels;
            met->delta[count] = tap * delta_columns;
        }
    }
    met->count = count;
}

/* Both sums of eight channels from c on, in turns: channels 0, 2, 4, 6, and 1, 3, 5, 7. */
typedef struct {
    int32x4_t frozen[2], path[2];
} two_sums;

/* The deltas of eight channels lie at d + index; all: every channel exists and has a delta of its own. */
__attribute__((always_inline)) static inline two_sums sum_eight(const kt_depthwise_input_gradient_params *params, const operands *o, const taps *met,
                                                                int32_t c, int all, mve_pred16_t lanes, uint16x8_t index, mve_pred16_t trained)
{
    const int16x8_t m = all ? vldrhq_s16(params->prescale + c) : vldrhq_z_s16(params->prescale + c, lanes);
    const int8_t *const g = o->g + c, *const weights = params->weights + c, *const delta = all ? o->delta + c : o->delta;
    const int32_t left = 15 - params->prescale_shift;
    int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0), path_even = vdupq_n_s32(0), path_odd = vdupq_n_s32(0);
    two_sums sums;
    int32_t i;
    for (i = 0; i < met->count; i++) {
        const int8_t *const codes = delta + met->delta[i];
        const int16x8_t gradient = all ? vldrbq_s16(g + met->gradient[i]) : vldrbq_z_s16(g + met->gradient[i], lanes);
        const int16x8_t w = all ? vldrbq_s16(weights + met->weight[i]) : vldrbq_z_s16(weights + met->weight[i], lanes);
        const int16x8_t d = all ? vldrbq_s16(codes) : vldrbq_gather_offset_z_s16(codes, index, trained);
        const int16x8_t scaled = vqrdmulhq_s16(vshlq_r_s16(gradient, left), m);
        even = vaddq_s32(even, vmullbq_int_s16(scaled, w));
        odd = vaddq_s32(odd, vmulltq_int_s16(scaled, w));
        path_even = vaddq_s32(path_even, vmullbq_int_s16(gradient, d));
        path_odd = vaddq_s32(path_odd, vmulltq_int_s16(gradient, d));
    }
    sums.frozen[0] = even;
    sums.frozen[1] = odd;
    sums.path[0] = path_even;
    sums.path[1] = path_odd;
    return sums;
}

/* Four sums of both kinds to gradients. */
__attribute__((always_inline)) static inline int32x4_t gradients_of(const kt_depthwise_input_gradient_params *params, int32_t path_shift,
                                                                    int32x4_t frozen, int32x4_t path)
{
    if (kt_goes_right(path_shift)) {
        path = kt_requantize_lanes_right(path, params->path_multiplier, path_shift);
    } else {
        path = kt_requantize_lanes_by(path, params->path_multiplier, path_shift);
        path = vminq_s32(vmaxq_s32(path, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
    }
    return kt_shift_round_lanes(vqaddq_s32(frozen, path), params->shift);
}

/* All channels of one position, eight at a time. */
static __attribute__((noinline)) void position_in_eights(const kt_depthwise_input_gradient_params *params, const operands *o, const taps *met,
                                                         int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t c;
    for (c = 0; c < channels; c += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(channels - c));
        two_sums sums;
        int16x8_t result;
        if (params->rows == NULL && c + 8 <= channels) {
            sums = sum_eight(params, o, met, c, 1, lanes, vdupq_n_u16(0), lanes);
        } else if (params->rows == NULL) {
            sums = sum_eight(params, o, met, c, 0, lanes, vidupq_n_u16((uint32_t)c, 1), lanes);
        } else {
            const int16x8_t index = vldrhq_z_s16(params->rows + c, lanes);
            sums = sum_eight(params, o, met, c, 0, lanes, vreinterpretq_u16_s16(index), vcmpgeq_m_n_s16(index, 0, lanes));
        }
        result = vqmovnbq_s32(vdupq_n_s16(0), gradients_of(params, o->path_shift, sums.frozen[0], sums.path[0]));
        result = vqmovntq_s32(result, gradients_of(params, o->path_shift, sums.frozen[1], sums.path[1]));
        vstrbq_p_s16(dx + c, vminq_s16(vmaxq_s16(result, vdupq_n_s16(-127)), vdupq_n_s16(127)), lanes);
    }
}

/* All channels of one position, four at a time. */
static void position(const kt_depthwise_input_gradient_params *params, const kt_axis_meetings *rows, const kt_axis_meetings *columns,
                     const operands *o, int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS], p = params->prescale_shift;
    const int32x4_t multiplier = vdupq_n_s32(params->path_multiplier), shift = vdupq_n_s32(o->path_shift);
    int32_t c, i, j;
    for (c = 0; c < channels; c += 4) {
        const mve_pred16_t all = vctp32q((uint32_t)(channels - c));
        const int32x4_t m = vldrhq_z_s32(params->prescale + c, all);
        mve_pred16_t trained = all;
        uint32x4_t column = vidupq_n_u32((uint32_t)c, 1);
        int32x4_t frozen = vdupq_n_s32(0), path = vdupq_n_s32(0);
        if (params->rows != NULL) {
            const int32x4_t index = vldrhq_z_s32(params->rows + c, all);
            trained = vcmpgeq_m_n_s32(index, 0, all);
            column = vreinterpretq_u32_s32(index);
        }
        for (i = 0; i < rows->count; i++) {
            for (j = 0; j < columns->count; j++) {
                const int32_t at = rows->gradient[i] + columns->gradient[j] + c;
                const int32_t tap = rows->weight[i] + columns->weight[j];
                const int32x4_t scaled = vrshlq_n_s32(vmulq_s32(vldrbq_z_s32(o->g + at, all), m), -p);
                const int32x4_t delta = vldrbq_gather_offset_z_s32(o->delta + tap * params->columns, column, trained);
                frozen = vaddq_s32(frozen, vmulq_s32(scaled, vldrbq_z_s32(params->weights + tap * channels + c, all)));
                path = vaddq_s32(path, vmulq_s32(vldrbq_z_s32(o->delta_g + at, all), delta));
            }
        }
        path = kt_requantize_lanes(path, multiplier, shift);
        path = vminq_s32(vmaxq_s32(path, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
        vstrbq_p_s32(dx + c, kt_saturate_lanes(kt_shift_round_lanes(vqaddq_s32(frozen, path), params->shift)), all);
    }
}

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    const operands o = {g, delta_g, delta, params->path_shift + *delta_exponent};
    const int few = window->kernel[KT_Y] * window->kernel[KT_X] <= MOST_TAPS;
    const int eights = few && delta_g == g && params->prescale_shift >= 7 && params->prescale_shift <= 15;
    kt_axis_meetings rows, columns;
    taps met;
    int32_t y, x;
    if (params->depth_multiplier != 1 || gain != NULL || !kt_meetings_fit(window) || params->prescale_shift > 31) {
        kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, o.path_shift, dx, (int32_t *)scratch);
        return;
    }
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        kt_meet(window, KT_Y, y, window->output[KT_X] * channels, window->kernel[KT_X], &rows);
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            kt_meet(window, KT_X, x, channels, 1, &columns);
            if (eights) {
                meet(&rows, &columns, channels, params->columns, &met);
                position_in_eights(params, &o, &met, dx + (y * window->input[KT_X] + x) * channels);
                continue;
            }
            position(params, &rows, &columns, &o, dx + (y * window->input[KT_X] + x) * channels);
        }
    }
}

#endif
