/* kt_max_pool2d_gradient_s8 on cores with Helium: sixteen channels of windows that share no element, eight of others. */
#include "kt/kernels/pool.h"
#include "kt/architecture.h"

#if KT_MVE
#include <arm_mve.h>

#include "../max_pool2d_gradient.h"

enum { LANES = 16, HALVES = 8, FARTHEST = 31 };

/* By how much a rounding shift of lanes moves to the left. */
static int32_t to_the_left(const kt_pool2d_gradient_params *params)
{
    return kt_clamp(-params->shift, -FARTHEST, FARTHEST);
}

static void scatter(const kt_pool2d_gradient_params *params, const kt_covered *under, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const int8x16_t shift = vdupq_n_s8((int8_t)to_the_left(params)), zero = vdupq_n_s8(0);
    int32_t c, row, column;
    for (c = 0; c < channels; c += LANES) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(channels - c));
        const int8x16_t gradient = vmaxq_s8(vqrshlq_s8(vldrbq_z_s8(g + c, lanes), shift), vdupq_n_s8(-INT8_MAX));
        mve_pred16_t waiting = lanes;
        int8x16_t largest = vdupq_n_s8(INT8_MIN);
        for (row = 0; row < under->rows; row++) {
            const int8_t *value = x + under->first + row * under->row + c;
            for (column = under->columns; column > 0; column--, value += under->column) {
                largest = vmaxq_s8(largest, vldrbq_z_s8(value, lanes));
            }
        }
        for (row = 0; row < under->rows; row++) {
            const int32_t first = under->first + row * under->row + c;
            for (column = 0; column < under->columns; column++) {
                const int32_t at = first + column * under->column;
                const mve_pred16_t here = vcmpeqq_m_s8(vldrbq_z_s8(x + at, lanes), largest, waiting);
                vstrbq_p_s8(dx + at, vpselq_s8(gradient, zero, here), lanes);
                waiting = (mve_pred16_t)(waiting & ~here);
            }
        }
    }
}

static void find_taps(const kt_found_taps *found, const kt_covered *under, uint16_t *taps)
{
    const int32_t width = found->params->window.kernel[KT_X];
    int32_t c, row, column;
    for (c = 0; c < found->count; c += HALVES) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(found->count - c));
        int16x8_t largest = vdupq_n_s16(INT8_MIN - 1);
        uint16x8_t which = vdupq_n_u16((uint16_t)under->tap);
        for (row = 0; row < under->rows; row++) {
            const int8_t *value = found->x + under->first + row * under->row + c;
            for (column = 0; column < under->columns; column++, value += under->column) {
                const int16x8_t next = vldrbq_z_s16(value, lanes);
                const mve_pred16_t more = vcmpgtq_s16(next, largest);
                which = vpselq_u16(vdupq_n_u16((uint16_t)(under->tap + row * width + column)), which, more);
                largest = vmaxq_s16(largest, next);
            }
        }
        vstrhq_p_u16(taps + c, which, lanes);
    }
}

/* Of more windows than are taken at once, sums wait in memory. */
static void gather(const kt_found_taps *found, int32_t iy, int32_t ix, int8_t *dx)
{
    const int16x8_t shift = vdupq_n_s16((int16_t)to_the_left(found->params));
    kt_meeting_walk walk = kt_meetings_of(iy, ix);
    kt_covering windows;
    int32_t c, i;
    kt_next_windows(found, &walk, &windows);
    if (windows.count == KT_MOST_WINDOWS) {
        kt_gather_channels(found, iy, ix, dx);
        return;
    }
    for (c = 0; c < found->count; c += HALVES) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(found->count - c));
        int16x8_t sum = vdupq_n_s16(0);
        for (i = 0; i < windows.count; i++) {
            const mve_pred16_t here = vcmpeqq_n_u16(vldrhq_z_u16(windows.taps[i] + c, lanes), (uint16_t)windows.tap[i]);
            sum = vaddq_m_s16(sum, sum, vldrbq_z_s16(windows.gradients[i] + c, lanes), here);
        }
        sum = vqrshlq_s16(sum, shift);
        vstrbq_p_s16(dx + c, vmaxq_s16(vminq_s16(sum, vdupq_n_s16(INT8_MAX)), vdupq_n_s16(-INT8_MAX)), lanes);
    }
}

void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, void *scratch)
{
    kt_max_gradient(params, g, x, dx, scratch, scatter, find_taps, gather);
}
#endif
