/* kt_depthwise_input_gradient_s8 on cores with Helium: eight channels at a time, of 3x3 windows in tiles. The formula and its roundings are those of
 * ../depthwise_input_gradient.c.
 *
 * The pre-scaling is a VQRDMULH of g * 2^(15 - p): (g * 2^(15 - p) * m + 2^14) >> 15 = (g * m + 2^(p - 1)) >> p. It needs p in
 * [7, 15], and one result a channel; any other layer takes the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_input_gradient.h"
#include "scaled_gradients.h"

enum { TAPS = 49 };

/* The windows that a position meets. */
typedef struct {
    const int8_t *g[TAPS], *w[TAPS];
    int32_t count;
} meetings;

static void meet(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t y, int32_t x, meetings *met)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t columns = window->kernel[KT_X];
    int32_t ox[TAPS];
    int32_t ky, kx, count = 0;
    for (kx = 0; kx < columns; kx++) {
        ox[kx] = kt_output_at(window, KT_X, x, kx);
    }
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t oy = kt_output_at(window, KT_Y, y, ky);
        const int8_t *row = g + oy * window->output[KT_X] * channels;
        const int8_t *w = params->weights + ky * columns * channels;
        for (kx = 0; oy >= 0 && kx < columns; kx++, w += channels) {
            if (ox[kx] >= 0) {
                met->g[count] = row + ox[kx] * channels;
                met->w[count++] = w;
            }
        }
    }
    met->count = count;
}

/* Eight channels from c on; where there are fewer, those in `lanes`. All eight need no predicates, which are an instruction each. */
__attribute__((always_inline)) static inline void eight(const kt_depthwise_input_gradient_params *params,
                                                        const meetings *met, int32_t c, int all, mve_pred16_t lanes,
                                                        int8_t *dx)
{
    const int16x8_t m = all ? vldrhq_s16(params->prescale + c) : vldrhq_z_s16(params->prescale + c, lanes);
    const int32_t left = 15 - params->prescale_shift;
    int32x4_t even = vdupq_n_s32(0);
    int32x4_t odd = vdupq_n_s32(0);
    int16x8_t result;
    int32_t i;
    for (i = 0; i < met->count; i++) {
        const int8_t *gradient = met->g[i] + c;
        const int8_t *weights = met->w[i] + c;
        const int16x8_t g = all ? vldrbq_s16(gradient) : vldrbq_z_s16(gradient, lanes);
        const int16x8_t w = all ? vldrbq_s16(weights) : vldrbq_z_s16(weights, lanes);
        const int16x8_t scaled = vqrdmulhq_s16(vshlq_r_s16(g, left), m);
        even = vaddq_s32(even, vmullbq_int_s16(scaled, w));
        odd = vaddq_s32(odd, vmulltq_int_s16(scaled, w));
    }
    result = vqmovnbq_s32(vdupq_n_s16(0), kt_shift_round_lanes(even, params->shift));
    result = vqmovntq_s32(result, kt_shift_round_lanes(odd, params->shift));
    result = vminq_s16(vmaxq_s16(result, vdupq_n_s16(-127)), vdupq_n_s16(127));
    if (all) {
        vstrbq_s16(dx + c, result);
    } else {
        vstrbq_p_s16(dx + c, result, lanes);
    }
}

/* All channels of a position. */
__attribute__((noinline)) static void position(const kt_depthwise_input_gradient_params *params, const meetings *met,
                                               int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t c = 0;
    for (; c + 8 <= channels; c += 8) {
        eight(params, met, c, 1, 0, dx);
    }
    if (c < channels) {
        eight(params, met, c, 0, vctp16q((uint32_t)(channels - c)), dx);
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    const int32_t p = params->prescale_shift;
    const int few = window->kernel[KT_Y] * window->kernel[KT_X] <= TAPS;
    meetings met;
    int32_t y, x;
    if (params->depth_multiplier != 1 || p < 7 || p > 15 || !few) {
        kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
        return;
    }
    if (kt_has_gradient_tiles(window)) {
        kt_gradient_in_tiles(params, g, dx);
        return;
    }
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            meet(params, g, y, x, &met);
            position(params, &met, dx + (y * window->input[KT_X] + x) * channels);
        }
    }
}
#endif
