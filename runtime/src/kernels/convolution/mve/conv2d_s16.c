/* Layers of int16 activations on cores with Helium: VMLALDAVA adds eight products to a sum of 64 bits. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d_s16.h"
#include <arm_mve.h>

/* Adds the products of n neighbouring values with those of two kernels. */
static inline void add_span(int64_t *first_sum, int64_t *second_sum, const int16_t *x, const int8_t *first,
                            const int8_t *second, int32_t n)
{
    int64_t a = *first_sum, b = *second_sum;
    for (; n > 0; n -= 8, x += 8, first += 8, second += 8) {
        const mve_pred16_t rest = vctp16q((uint32_t)n);
        const int16x8_t values = vldrhq_z_s16(x, rest);
        a = vmlaldavaq_s16(a, values, vldrbq_z_s16(first, rest));
        b = vmlaldavaq_s16(b, values, vldrbq_z_s16(second, rest));
    }
    *first_sum = a;
    *second_sum = b;
}

/* The last of an odd number of channels is computed twice. */
static void kt_wide_position(const kt_conv2d_params *params, const kt_wide_bias *bias, const kt_patch *patch,
                             const int16_t *x, int32_t size, int16_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t c, row, span;
    for (c = 0; c < channels; c += 2) {
        const int32_t next = c + 1 < channels ? size : 0;
        int64_t a = 0, b = 0;
        for (row = 0; row < patch->rows; row++) {
            for (span = 0; span < patch->spans; span++) {
                const int16_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
                const int8_t *const weights =
                    params->weights + c * size + (patch->w + row * patch->row_w + span * patch->span_w);
                add_span(&a, &b, values, weights, weights + next, patch->length);
            }
        }
        y[c] = kt_wide_result(params, bias, c, a);
        if (next > 0) {
            y[c + 1] = kt_wide_result(params, bias, c + 1, b);
        }
    }
}

void kt_conv2d_s16(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y)
{
    const kt_wide_bias values = {bias, NULL};
    kt_wide_walk(params, x, values, y);
}

void kt_conv2d_s16_bias32(const kt_conv2d_params *params, const int16_t *x, const int32_t *bias, int16_t *y)
{
    const kt_wide_bias values = {NULL, bias};
    kt_wide_walk(params, x, values, y);
}

#endif
