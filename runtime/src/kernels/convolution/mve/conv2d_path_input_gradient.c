/* kt_conv2d_path_input_gradient_s8 on cores with Helium: the frozen sums from transposed weights, the path's from rows of its own, sixteen input
 * channels at a time. The formula and its rounding are those of ../conv2d_path_input_gradient.c; layers with a gain, or without transposed
 * weights, take its loop. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d_path_gradient.h"
#include "transposed_gradient.h"

/* codes: the gradients that enter the path under the windows of each position, tap by tap, 0 where a window is not there: they are kept because
 * dx may lie over them. */
typedef struct {
    const kt_window *window;
    const kt_path *path;
    int8_t codes[2][KT_RUN];
} share;

static void keep(void *path, const kt_held *held, int32_t slot)
{
    share *const s = path;
    const kt_window *const window = s->window;
    const int32_t channels = s->path->channels;
    int8_t *codes = s->codes[slot];
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t oy = kt_output_at(window, KT_Y, held->y[slot], ky);
        for (kx = 0; kx < window->kernel[KT_X]; kx++, codes += channels) {
            const int32_t ox = kt_output_at(window, KT_X, held->x[slot], kx);
            if (oy < 0 || ox < 0) {
                kt_fill_lanes(codes, 0, channels);
            } else {
                kt_copy_lanes(codes, s->path->gradient + (oy * window->output[KT_X] + ox) * channels, channels);
            }
        }
    }
}

/* row[k] += over c of codes[c] * weights[row of c, k], k in [0, count), count at most 16. */
static void add_codes(const kt_path *path, const int8_t *codes, const int8_t *weights, int32_t step, int32_t count, int32_t *row)
{
    const mve_pred16_t lanes0 = vctp32q((uint32_t)count), lanes1 = vctp32q((uint32_t)kt_maximum(count - 4, 0));
    const mve_pred16_t lanes2 = vctp32q((uint32_t)kt_maximum(count - 8, 0)), lanes3 = vctp32q((uint32_t)kt_maximum(count - 12, 0));
    int32x4_t sum0 = vldrwq_s32(row), sum1 = vldrwq_s32(row + 4), sum2 = vldrwq_s32(row + 8), sum3 = vldrwq_s32(row + 12);
    int32_t c;
    for (c = 0; c < path->channels; c++) {
        const int32_t code = codes[c], index = path->rows == NULL ? c : path->rows[c];
        const int8_t *w;
        if (code == 0 || index < 0) {
            continue;
        }
        w = weights + index * step;
        if (count == 16) {
            sum0 = vmlaq_n_s32(sum0, vldrbq_s32(w), code);
            sum1 = vmlaq_n_s32(sum1, vldrbq_s32(w + 4), code);
            sum2 = vmlaq_n_s32(sum2, vldrbq_s32(w + 8), code);
            sum3 = vmlaq_n_s32(sum3, vldrbq_s32(w + 12), code);
        } else {
            sum0 = vmlaq_n_s32(sum0, vldrbq_z_s32(w, lanes0), code);
            sum1 = vmlaq_n_s32(sum1, vldrbq_z_s32(w + 4, lanes1), code);
            sum2 = vmlaq_n_s32(sum2, vldrbq_z_s32(w + 8, lanes2), code);
            sum3 = vmlaq_n_s32(sum3, vldrbq_z_s32(w + 12, lanes3), code);
        }
    }
    vstrwq_s32(row, sum0);
    vstrwq_s32(row + 4, sum1);
    vstrwq_s32(row + 8, sum2);
    vstrwq_s32(row + 12, sum3);
}

static void add(const void *shared, int32_t slot, int32_t first, int32_t count, int32_t *sums)
{
    const share *const s = shared;
    const kt_path *const path = s->path;
    const int32_t taps = s->window->kernel[KT_Y] * s->window->kernel[KT_X];
    const int32_t size = s->window->input[KT_CHANNELS], step = kt_kernel_size(s->window);
    const int32x4_t multiplier = vdupq_n_s32(path->multiplier), shift = vdupq_n_s32(path->shift);
    int32_t k, tap, i;
    for (k = 0; k < count; k += 16) {
        const int32_t part = kt_minimum(count - k, 16);
        int32_t row[16] = {0};
        for (tap = 0; tap < taps; tap++) {
            add_codes(path, s->codes[slot] + tap * path->channels, path->weights + tap * size + first + k, step, part, row);
        }
        for (i = 0; i < part; i += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)(part - i));
            int32x4_t addend = kt_requantize_lanes(vldrwq_s32(row + i), multiplier, shift);
            addend = vminq_s32(vmaxq_s32(addend, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
            vstrwq_p_s32(sums + k + i, vqaddq_s32(vldrwq_z_s32(sums + k + i, lanes), addend), lanes);
        }
    }
}

void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                      const int8_t *gain_exponent, const int8_t *path_g, const int8_t *path_exponent,
                                      const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t exponent = (path_exponent == NULL ? 0 : *path_exponent) + *weights_exponent;
    const kt_path path = {path_g, path_weights, params->path_channels, params->path_rows, params->path_multiplier, params->path_shift + exponent};
    const int32_t run = params->window.kernel[KT_Y] * params->window.kernel[KT_X] * params->path_channels;
    if (gain == NULL && kt_is_transposed(params) && run <= KT_RUN) {
        share s;
        s.window = &params->window;
        s.path = &path;
        kt_transposed_input_gradient(params, g, dx, &s, keep, add);
        return;
    }
    (void)kt_walk_path_gradient(params, g, &trained, &path, kt_direction(g, dx), params->shift, dx);
}
#endif
