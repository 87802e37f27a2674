/* kt_depthwise_conv2d_trained_s8 on cores with Helium: four channels at a time, whose sums of both kinds grow in one loop. Results of several
 * channels for one input take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_conv2d.h"
#include "../../mve/lanes.h"

/* Lanes of four channels from c on: which there are, which have a delta, and the columns of those. */
typedef struct {
    mve_pred16_t all, trained;
    uint32x4_t column;
} four;

static inline four four_of(const kt_depthwise_conv2d_params *params, int32_t c, int32_t left)
{
    four f;
    f.all = vctp32q((uint32_t)left);
    f.trained = f.all;
    f.column = vidupq_n_u32((uint32_t)c, 1);
    if (params->rows != NULL) {
        const int32x4_t column = vldrhq_z_s32(params->rows + c, f.all);
        f.trained = vcmpgeq_m_n_s32(column, 0, f.all);
        f.column = vreinterpretq_u32_s32(column);
    }
    return f;
}

/* Sums of the weights and of the delta over the taps of four channels, all of which have a delta. */
static inline void dense_sums(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x, const int8_t *delta,
                              int32_t c, int32x4_t *frozen, int32x4_t *trained)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], step_x = window->dilation[KT_X] * channels;
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * channels, row_w = window->kernel[KT_X] * channels;
    const int32x4_t offset = vdupq_n_s32(params->input_offset);
    const int8_t *line = x + (patch->x + c), *w = params->weights + patch->tap * channels + c, *d = delta + patch->tap * channels + c;
    int32x4_t sum = vdupq_n_s32(0), product = vdupq_n_s32(0);
    int32_t ky, at, at_w;
    for (ky = patch->rows; ky > 0; ky--, line += row_x, w += row_w, d += row_w) {
        for (at = at_w = 0; at < patch->columns * step_x; at += step_x, at_w += channels) {
            const int32x4_t value = vaddq_s32(vldrbq_s32(line + at), offset);
            sum = vaddq_s32(sum, vmulq_s32(value, vldrbq_s32(w + at_w)));
            product = vaddq_s32(product, vmulq_s32(value, vldrbq_s32(d + at_w)));
        }
    }
    *frozen = sum;
    *trained = product;
}

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, const kt_depthwise_trained *trained, int8_t *y)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], columns = params->columns;
    const int32_t step_x = window->dilation[KT_X] * channels;
    const int32_t row_x = window->dilation[KT_Y] * window->input[KT_X] * channels;
    const kt_lanes_clamp limits = kt_lanes_clamp_of(params->output_offset, params->clamp);
    int32_t c, ky, kx;
    for (c = 0; c < channels; c += 4) {
        const four f = four_of(params, c, channels - c);
        int32x4_t sum = vdupq_n_s32(0), product = vdupq_n_s32(0), addend;
        if (params->rows == NULL && channels - c >= 4) {
            dense_sums(params, patch, x, trained->delta, c, &sum, &product);
        }
        for (ky = params->rows == NULL && channels - c >= 4 ? patch->rows : 0; ky < patch->rows; ky++) {
            const int32_t tap = patch->tap + ky * window->kernel[KT_X];
            const int8_t *at = x + (patch->x + c) + ky * row_x;
            const int8_t *w = params->weights + tap * channels + c;
            const int8_t *d = trained->delta + tap * columns;
            for (kx = 0; kx < patch->columns; kx++, at += step_x, w += channels, d += columns) {
                const int32x4_t value = vaddq_n_s32(vldrbq_z_s32(at, f.all), params->input_offset);
                sum = vaddq_s32(sum, vmulq_s32(value, vldrbq_z_s32(w, f.all)));
                product = vaddq_s32(product, vmulq_s32(value, vldrbq_gather_offset_z_s32(d, f.column, f.trained)));
            }
        }
        addend = kt_requantize_lanes(product, vldrwq_z_s32(params->addend_multiplier + c, f.all),
                                     vaddq_n_s32(vldrbq_z_s32(params->addend_shift + c, f.all), trained->exponent));
        addend = vminq_s32(vmaxq_s32(addend, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
        sum = vqaddq_s32(vaddq_s32(sum, addend), vldrwq_z_s32(bias + c, f.all)); /* without the bias it stays in int32 */
        sum = kt_requantize_lanes(sum, vldrwq_z_s32(params->multiplier + c, f.all), vldrbq_z_s32(params->shift + c, f.all));
        vstrbq_p_s32(y + c, kt_clamp_lanes(sum, limits), f.all);
    }
}

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, int8_t *y)
{
    const int plain = params->depth_multiplier == 1;
    kt_depthwise_trained trained;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    if (plain) {
        kt_depthwise_walk(params, x, bias, &trained, y, position);
    } else {
        kt_depthwise_walk(params, x, bias, &trained, y, kt_depthwise_position);
    }
}

#endif
