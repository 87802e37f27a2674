/* down_projection.h: the walk of a down-projection, whatever adds up its sums. */
#ifndef KT_DOWN_PROJECTION_H
#define KT_DOWN_PROJECTION_H

#include "kt/kernels/lora.h"
#include <stddef.h>

#include "../../product/short_blocks.h"
#include "../patch.h"

/* The sums of up to four kernels (kt_patch_sums in patch.h). */
typedef int32_t kt_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left, int32_t offset,
                        int32_t sums[4]);

/* A window of one value in each channel, at every position of the image. */
static inline int kt_is_pixel(const kt_window *window)
{
    return window->kernel[KT_Y] * window->kernel[KT_X] * window->stride[KT_Y] * window->stride[KT_X] == 1 && window->pad[KT_Y] == 0 &&
           window->pad[KT_X] == 0 && window->input[KT_Y] == window->output[KT_Y] && window->input[KT_X] == window->output[KT_X];
}

/* All of one position; returns 1 where an element saturated. */
static inline int8_t kt_project(const kt_down_projection_params *params, const kt_patch *patch, const int8_t *x,
                                const int8_t *a, int32_t shift, int8_t *u, kt_sums *sums_of)
{
    const int32_t rank = params->window.output[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t low = params->low;
    int32_t sums[4];
    int32_t j = 0;
    int8_t hit = 0;
    while (j < rank) {
        const int32_t done = sums_of(patch, x, a, size, rank - j, params->input_offset, sums);
        int32_t i;
        for (i = 0; i < done; i++, j++) {
            const int32_t value = kt_shift_round(sums[i], shift);
            u[j] = (int8_t)kt_clamp(value, low, 127);
            hit = value > 127 || (low < 0 && value < low) ? 1 : hit;
        }
        a += done * size;
    }
    return hit;
}

/* Every position; returns 1 where an element saturated. */
static inline int8_t kt_project_all(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, int32_t shift,
                                    int8_t *u, kt_sums *sums_of)
{
    const kt_window *window = &params->window;
    int8_t hit = 0;
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            hit |= kt_project(params, &patch, x, a, shift, u, sums_of);
            u += window->output[KT_CHANNELS];
        }
    }
    return hit;
}

#endif
