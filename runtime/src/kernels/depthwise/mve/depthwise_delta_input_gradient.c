/* kt_depthwise_delta_input_gradient_s8 on cores with Helium: four channels at a time, whose sums of both kinds grow in one loop. Results of several
 * channels for one input, and gains, take the portable loop. */
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

/* All channels of one position. */
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
    kt_axis_meetings rows, columns;
    int32_t y, x;
    if (params->depth_multiplier != 1 || gain != NULL || !kt_meetings_fit(window) || params->prescale_shift > 31) {
        kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, o.path_shift, dx, (int32_t *)scratch);
        return;
    }
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        kt_meet(window, KT_Y, y, window->output[KT_X] * channels, window->kernel[KT_X], &rows);
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            kt_meet(window, KT_X, x, channels, 1, &columns);
            position(params, &rows, &columns, &o, dx + (y * window->input[KT_X] + x) * channels);
        }
    }
}

#endif
