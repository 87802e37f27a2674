/* kt_depthwise_conv2d_trained_s8 on cores with Helium: eight channels at a time, whose sums of both kinds grow in one loop. Results of several
 * channels for one input, and gains, take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_conv2d.h"
#include "../../mve/finish.h"

enum { CHUNK = 64 }; /* channels whose sums are kept */

/* What does not change from position to position. rightwards: every addend is shifted to the right. */
typedef struct {
    const kt_depthwise_conv2d_params *params;
    const kt_depthwise_trained *trained;
    kt_finish finish;
    int rightwards;
} layer;

/* Eight channels: which there are, and where their deltas are. */
typedef struct {
    mve_pred16_t lanes, trained;
    uint16x8_t column;
} eight;

static inline eight eight_of(const kt_depthwise_conv2d_params *params, int32_t c)
{
    eight e;
    e.lanes = vctp16q((uint32_t)(params->window.input[KT_CHANNELS] - c));
    e.trained = e.lanes;
    e.column = vidupq_n_u16((uint32_t)c, 1);
    if (params->rows != NULL) {
        const int16x8_t column = vldrhq_z_s16(params->rows + c, e.lanes);
        e.trained = vcmpgeq_m_n_s16(column, 0, e.lanes);
        e.column = vreinterpretq_u16_s16(column);
    }
    return e;
}

/* Sums of the weights and of the delta over the taps of eight channels from c on; all: every channel exists and has a delta of its own. */
__attribute__((always_inline)) static inline void sum_eight(const layer *l, const kt_depthwise_patch *patch, const int8_t *x, int32_t c, int all,
                                                            const eight *e, int32_t *sums, int32_t *products)
{
    const kt_depthwise_conv2d_params *const params = l->params;
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], columns = params->columns, step_x = window->dilation[KT_X] * channels;
    const int32_t skip_x = window->dilation[KT_Y] * window->input[KT_X] * channels - patch->columns * step_x;
    const int32_t skip = window->kernel[KT_X] - patch->columns;
    const int16x8_t offset = vdupq_n_s16((int16_t)params->input_offset);
    const int8_t *at = x + (patch->x + c), *w = params->weights + patch->tap * channels + c;
    const int8_t *d = l->trained->delta + patch->tap * columns + (all ? c : 0);
    int32x4x2_t sum = {{vdupq_n_s32(0), vdupq_n_s32(0)}}, product = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    int32_t ky, kx;
    for (ky = patch->rows; ky > 0; ky--, at += skip_x, w += skip * channels, d += skip * columns) {
        for (kx = patch->columns; kx > 0; kx--, at += step_x, w += channels, d += columns) {
            const int16x8_t value = vaddq_s16(all ? vldrbq_s16(at) : vldrbq_z_s16(at, e->lanes), offset);
            const int16x8_t weight = all ? vldrbq_s16(w) : vldrbq_z_s16(w, e->lanes);
            const int16x8_t code = all ? vldrbq_s16(d) : vldrbq_gather_offset_z_s16(d, e->column, e->trained);
            sum.val[0] = vaddq_s32(sum.val[0], vmullbq_int_s16(value, weight));
            sum.val[1] = vaddq_s32(sum.val[1], vmulltq_int_s16(value, weight));
            product.val[0] = vaddq_s32(product.val[0], vmullbq_int_s16(value, code));
            product.val[1] = vaddq_s32(product.val[1], vmulltq_int_s16(value, code));
        }
    }
    vst2q_s32(sums, sum);
    vst2q_s32(products, product);
}

/* sums += what the delta's products give, of `count` channels from `first` on. */
static void add_addends(const layer *l, int32_t first, int32_t count, int32_t *sums, const int32_t *products)
{
    const int32_t *multiplier = l->params->addend_multiplier + first;
    const int8_t *shift = l->params->addend_shift + first;
    const int32_t exponent = l->trained->exponent;
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - c));
        const int32x4_t shifts = vaddq_n_s32(vldrbq_z_s32(shift + c, lanes), exponent);
        int32x4_t addend = vldrwq_s32(products + c);
        if (l->rightwards) {
            addend = vqrdmulhq_s32(addend, vldrwq_z_s32(multiplier + c, lanes));
            addend = vrshlq_s32(vaddq_s32(addend, vshrq_n_s32(vandq_s32(addend, shifts), 31)), shifts);
        } else {
            addend = kt_requantize_lanes(addend, vldrwq_z_s32(multiplier + c, lanes), shifts);
            addend = vminq_s32(vmaxq_s32(addend, vdupq_n_s32(-KT_ADDEND_LIMIT)), vdupq_n_s32(KT_ADDEND_LIMIT));
        }
        vstrwq_s32(sums + c, vaddq_s32(vldrwq_s32(sums + c), addend)); /* without the bias it stays in int32 */
    }
}

static __attribute__((noinline)) void position(const layer *l, const kt_depthwise_patch *patch, const int8_t *x, int8_t *y)
{
    const kt_depthwise_conv2d_params *const params = l->params;
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t sums[CHUNK], products[CHUNK];
    kt_finish_positions results = {sums, 0, NULL, NULL};
    int32_t first, c;
    for (first = 0; first < channels; first += CHUNK) {
        const int32_t count = kt_minimum(channels - first, CHUNK);
        for (c = 0; c < count; c += 8) {
            if (params->rows == NULL && c + 8 <= count) {
                sum_eight(l, patch, x, first + c, 1, NULL, sums + c, products + c);
            } else {
                const eight e = eight_of(params, first + c);
                sum_eight(l, patch, x, first + c, 0, &e, sums + c, products + c);
            }
        }
        add_addends(l, first, count, sums, products);
        results.y0 = y + first;
        kt_finish_one(&l->finish, first, count, results);
    }
}

static void walk(const layer *l, const int8_t *x, int8_t *y)
{
    const kt_window *const window = &l->params->window;
    const int32_t height = window->output[KT_Y], width = window->output[KT_X], direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_taps columns = kt_taps_at(window, KT_X, ox);
            kt_depthwise_patch patch = {rows.count, columns.count, 0, rows.first * window->kernel[KT_X] + columns.first};
            patch.x = (rows.index * window->input[KT_X] + columns.index) * window->input[KT_CHANNELS];
            position(l, &patch, x, y + (oy * width + ox) * window->output[KT_CHANNELS]);
        }
    }
}

/* Whether every channel's addend is shifted to the right. */
static int goes_right(const kt_depthwise_conv2d_params *params, int32_t exponent)
{
    int32_t c;
    for (c = 0; c < params->window.output[KT_CHANNELS]; c++) {
        if (!kt_goes_right(params->addend_shift[c] + exponent)) {
            return 0;
        }
    }
    return 1;
}

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const int plain = params->depth_multiplier == 1 && gain == NULL;
    kt_depthwise_trained trained;
    (void)scratch;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    trained.gain = kt_gain_of(gain, gain_exponent);
    if (plain) {
        const int32_t channels = params->window.output[KT_CHANNELS];
        layer l;
        l.params = params;
        l.trained = &trained;
        l.finish = kt_finish_of(bias, params->multiplier, params->shift, channels, params->output_offset, params->clamp);
        l.rightwards = goes_right(params, trained.exponent);
        walk(&l, x, y);
    } else {
        kt_depthwise_walk(params, x, bias, &trained, y, kt_depthwise_position);
    }
}

#endif
