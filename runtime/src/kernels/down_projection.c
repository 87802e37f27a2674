/* The down-projection of LoRA and of bottleneck adapters: u = A (x - z_x) under a window, as int8 with the scale
 * s_x * 2^range.
 *
 *     u = clamp(shift_round(A (x - z_x), range - a_exponent), low, 127), half up
 *
 * Remembers whether an element needed a larger range, so that it can grow after the update. */
#include <stddef.h>

#include "window.h"

/* All of one position; returns 1 where an element saturated. */
static int8_t project(const kt_down_projection_params *params, const kt_patch *patch, const int8_t *x, const int8_t *a,
                      int32_t shift, int8_t *u)
{
    const int32_t rank = params->window.output[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t low = params->low;
    int32_t sums[4];
    int32_t j = 0;
    int8_t hit = 0;
    while (j < rank) {
        const int32_t done = kt_patch_sums(patch, x, a, size, rank - j, params->input_offset, sums);
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

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const kt_window *window = &params->window;
    const int32_t shift = *range - *a_exponent;
    int8_t hit = 0;
    int32_t oy, ox;
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            hit |= project(params, &patch, x, a, shift, u);
            u += window->output[KT_CHANNELS];
        }
    }
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}
