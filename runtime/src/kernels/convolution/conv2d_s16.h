/* conv2d_s16.h: the walk over positions of layers of int16 activations. */
#ifndef KT_CONV2D_S16_H
#define KT_CONV2D_S16_H

#include <stddef.h>

#include "kt/kernels/convolution.h"
#include "../window.h"

/* values: of 64 bits, or NULL and those of 32 bits. */
typedef struct {
    const int64_t *values;
    const int32_t *values32;
} kt_wide_bias;

/* A result, of the sum of its products. */
static inline int16_t kt_wide_result(const kt_conv2d_params *p, const kt_wide_bias *bias, int32_t c, int64_t sum)
{
    const int32_t scaled = bias->values != NULL
                               ? kt_requantize_wide(sum + bias->values[c], p->multiplier[c], p->shift[c])
                               : kt_requantize((int32_t)(sum + bias->values32[c]), p->multiplier[c], p->shift[c]);
    return (int16_t)kt_clamp(scaled, p->clamp[0], p->clamp[1]);
}

/* The results of one position, which a file that includes this one defines. size: of a channel's weights. */
static void kt_wide_position(const kt_conv2d_params *params, const kt_wide_bias *bias, const kt_patch *patch,
                             const int16_t *x, int32_t size, int16_t *y);

static inline void kt_wide_walk(const kt_conv2d_params *params, const int16_t *x, kt_wide_bias bias, int16_t *y)
{
    const kt_window *window = &params->window;
    const int32_t size = kt_kernel_size(window), channels = window->output[KT_CHANNELS];
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++, y += channels) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            kt_wide_position(params, &bias, &patch, x, size, y);
        }
    }
}

#endif
