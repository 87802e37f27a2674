/* transposed_weight_gradient.h: the gradient of a 1x1 layer's weights with Helium. With the values of a channel at all positions beside each other, in
 * scratch, each sum is a product of two rows (../../mve/dot.h). */
#ifndef KT_TRANSPOSED_WEIGHT_GRADIENT_H
#define KT_TRANSPOSED_WEIGHT_GRADIENT_H

#include "../weight_gradient.h"
#include "../../mve/dot.h"

enum { KT_TRANSPOSED_SUMS = 66 }; /* inputs whose sums are kept, a multiple of 3 */

/* row = one channel's values at `count` positions, `step` bytes apart. */
static void kt_transpose_channel(const int8_t *values, int32_t step, int32_t count, int8_t *row)
{
    const uint16x8_t places = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)step); /* only where they fit in 16 bits */
    for (; count > 0; count -= 8, values += 8 * step, row += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)count);
        vstrbq_p_s16(row, vldrbq_gather_offset_z_s16(values, places, lanes), lanes);
    }
}

/* The channels c[0] and c[1], of which the second may be -1, with `count` inputs from `first` on, whose rows are x; accumulator: of input `first`
 * and the first channel. */
static void kt_add_two_channels(const kt_weight_gradient_params *params, const int8_t *const g[2], const int8_t *x, int32_t first, int32_t count,
                                float scale, float *accumulator)
{
    static const int32_t zeros[KT_TRANSPOSED_SUMS] = {0};
    const int32_t positions = params->window.output[KT_Y] * params->window.output[KT_X], depth = params->window.input[KT_CHANNELS];
    int32_t sums[2][KT_TRANSPOSED_SUMS];
    int32_t done, i, k;
    for (done = 0; done < count; done += KT_TRANSPOSED_SUMS) {
        const int32_t some = kt_minimum(count - done, KT_TRANSPOSED_SUMS);
        kt_dot_block block = {g[0], g[1], x + done * positions, positions, zeros, sums[0], sums[1], sums[0] + (some + 2) / 3 * 3};
        kt_dot_three_by_two(&block);
        for (i = 0; i < (g[1] == g[0] ? 1 : 2); i++) {
            const int32_t offset = params->input_offset * kt_sum_lanes(g[i], positions);
            float *const entry = accumulator + i * depth + first + done;
            for (k = 0; k < some; k++) {
                entry[k] = kt_accumulate(entry[k], sums[i][k] + offset, scale);
            }
        }
    }
}

/* Every trained channel; scratch: rows of params->transposed inputs, rounded up to 3, and of two channels. */
static void kt_transposed_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale,
                                          float *accumulator, int8_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t positions = window->output[KT_Y] * window->output[KT_X];
    const int32_t depth = window->input[KT_CHANNELS], channels = window->output[KT_CHANNELS];
    int8_t *const codes = scratch, *const rows = scratch + 2 * positions;
    int32_t first, k, c;
    for (first = 0; first < depth; first += params->transposed) {
        const int32_t count = kt_minimum(depth - first, params->transposed);
        float *entry = accumulator;
        int32_t waiting = 0;
        for (k = 0; k < count; k++) {
            kt_transpose_channel(x + first + k, depth, positions, rows + k * positions);
        }
        for (; k % 3 != 0; k++) { /* sums that nothing reads */
            kt_transpose_channel(x + first, depth, positions, rows + k * positions);
        }
        for (c = 0; c < channels; c++) {
            if (params->rows == NULL || params->rows[c] >= 0) {
                kt_transpose_channel(g + c, channels, positions, codes + waiting++ * positions);
            }
            if (waiting == 2 || (waiting == 1 && c == channels - 1)) {
                const int8_t *const two[2] = {codes, codes + (waiting - 1) * positions};
                kt_add_two_channels(params, two, rows, first, count, scale, entry);
                entry += waiting * depth;
                waiting = 0;
            }
        }
    }
}

#endif
