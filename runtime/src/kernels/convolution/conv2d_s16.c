/* CONV_2D and FULLY_CONNECTED of int16 activations with zero point 0 and int8 weights.
 *
 *     y = clamp(requantize(W x + bias))
 *
 * Source: TensorFlow Lite's reference kernels for int16. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if !KT_DSP

#include "conv2d_s16.h"

/* sum w * x over a patch; w points to the kernel's first value. */
static int64_t patch_sum(const kt_patch *patch, const int16_t *x, const int8_t *w)
{
    int64_t sum = 0;
    int32_t row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int16_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = 0; i < patch->length; i++) {
                sum += (int32_t)weights[i] * values[i];
            }
        }
    }
    return sum;
}

static void kt_wide_position(const kt_conv2d_params *params, const kt_wide_bias *bias, const kt_patch *patch,
                             const int16_t *x, int32_t size, int16_t *y)
{
    int32_t c;
    for (c = 0; c < params->window.output[KT_CHANNELS]; c++) {
        y[c] = kt_wide_result(params, bias, c, patch_sum(patch, x, params->weights + c * size));
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
