/* CONV_2D and FULLY_CONNECTED of int16 activations with zero point 0 and int8 weights.
 *
 *     y = clamp(requantize(W x + bias))
 *
 * Source: TensorFlow Lite's reference kernels for int16. */
#include <stddef.h>

#include "kt/kernels/convolution.h"
#include "../window.h"

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

/* bias: of 64 bits, or NULL for one of 32 bits. */
static inline void walk(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, const int32_t *bias32, int16_t *y)
{
    const kt_window *window = &params->window;
    const int32_t size = kt_kernel_size(window);
    int32_t oy, ox, c;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            const int8_t *weights = params->weights;
            for (c = 0; c < window->output[KT_CHANNELS]; c++, weights += size) {
                const int64_t sum = patch_sum(&patch, x, weights);
                const int32_t scaled = bias != NULL
                                           ? kt_requantize_wide(sum + bias[c], params->multiplier[c], params->shift[c])
                                           : kt_requantize((int32_t)(sum + bias32[c]), params->multiplier[c], params->shift[c]);
                *y++ = (int16_t)kt_clamp(scaled, params->clamp[0], params->clamp[1]);
            }
        }
    }
}

void kt_conv2d_s16(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y)
{
    walk(params, x, bias, NULL, y);
}

void kt_conv2d_s16_bias32(const kt_conv2d_params *params, const int16_t *x, const int32_t *bias, int16_t *y)
{
    walk(params, x, NULL, bias, y);
}
