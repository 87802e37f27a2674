/* conv2d_path_gradient.h: the walk over the sums of W^T dY with the share of a trained path. */
#ifndef KT_CONV2D_PATH_GRADIENT_H
#define KT_CONV2D_PATH_GRADIENT_H

#include "kt/kernels/convolution.h"
#include "../../product/short_blocks.h"
#include "conv2d_input_gradient.h"
#include "path_gradient.h"

/* dx = saturate8(shift_round(sums, shift)), unless it is NULL; direction: of the positions. Returns the magnitude of the largest sum. */
KT_INLINE uint32_t kt_walk_path_gradient(const kt_conv2d_input_gradient_params *params, const int8_t *g, const kt_gain *gain, const kt_path *path,
                                         int32_t direction, int32_t shift, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    uint32_t largest = 0;
    int32_t sums[KT_GATHER_BLOCK];
    int32_t y, x, first, k;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            const int32_t at = (y * window->input[KT_X] + x) * channels;
            for (first = 0; first < channels; first += KT_GATHER_BLOCK) {
                const int32_t count = kt_minimum(channels - first, KT_GATHER_BLOCK);
                kt_conv2d_gather(params, g, gain, y, x, first, count, sums);
                kt_add_path(window, path, sums, y, x, first, count);
                for (k = 0; k < count; k++) {
                    const uint32_t magnitude = kt_magnitude(sums[k]);
                    largest = magnitude > largest ? magnitude : largest;
                }
                if (dx != NULL) {
                    kt_round_block(sums, shift, count, dx + (at + first));
                }
            }
        }
    }
    return largest;
}

#endif
