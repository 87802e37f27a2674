/* Weights with a merged delta as the product of gradients reads them (runtime/src/product/product.h): for each phase of the positions its taps, last
 * first; a half of a word holds those of two input channels a and b for one output channel, as b * 256 + a + 128. */
#include "merging.h"

#include <string.h>

#define NOTHING 0x00800080 /* both halves of weights that are 0 */

/* The half that an output channel has of the pairs of a tap: four channels take two words, the first and third one, the second and fourth the
 * other; of three that are left the third lies beside the first, of two the second. */
static int32_t half_of(int32_t channels, int32_t channel)
{
    const int32_t group = channel & ~3;
    const int32_t left = channels - group;
    const int32_t within = channel & 3;
    if (left == 2) {
        return group + within;
    }
    return group + (within & 1) * 2 + (within >> 1);
}

/* Two input channels from `i` on of one output channel, 0 where the second is none. */
static inline uint16_t two_inputs(const kt_merged_channel *channel, int32_t at, int32_t both)
{
    const int32_t a = kt_merged(channel, at);
    const int32_t b = both ? kt_merged(channel, at + 1) : 0;
    return (uint16_t)(b * 256 + a + 128);
}

void kt_merge_packed_gradient(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream)
{
    const int32_t channels = params->channels, depth = params->depth;
    const int32_t quads = (depth + 3) / 4;
    const int32_t pairs_of_tap = (channels >> 2) * 2 + ((channels & 3) + 1) / 2;
    const int32_t words = params->kernel[0] * params->kernel[1] * quads * pairs_of_tap * 2;
    int32_t c, i;
    if (channels % 2 != 0 || depth % 4 != 0) {
        for (i = 0; i < words; i++) {
            stream[i] = NOTHING;
        }
    }
    for (c = 0; c < channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        uint8_t *phase = (uint8_t *)stream;
        int32_t fy, fx;
        for (fy = 0; fy < params->stride[0]; fy++) {
            const int32_t rows = fy < params->kernel[0] ? (params->kernel[0] - fy + params->stride[0] - 1) / params->stride[0] : 0;
            for (fx = 0; fx < params->stride[1]; fx++) {
                const int32_t columns = fx < params->kernel[1] ? (params->kernel[1] - fx + params->stride[1] - 1) / params->stride[1] : 0;
                const int32_t quad_bytes = rows * columns * pairs_of_tap * 8;
                int32_t y, x;
                for (y = 0; y < rows; y++) {
                    for (x = 0; x < columns; x++) {
                        const int32_t ky = fy + (rows - 1 - y) * params->stride[0], kx = fx + (columns - 1 - x) * params->stride[1];
                        const int32_t at = (ky * params->kernel[1] + kx) * depth;
                        const int32_t half = half_of(channels, c);
                        uint8_t *to = phase + (y * columns + x) * pairs_of_tap * 8 + (half >> 1) * 8 + (half & 1) * 2;
                        for (i = 0; i < depth; i += 4) {
                            uint16_t two = two_inputs(&channel, at + i, i + 1 < depth);
                            memcpy(to, &two, 2);
                            if (i + 2 < depth) {
                                two = two_inputs(&channel, at + i + 2, i + 3 < depth);
                                memcpy(to + 4, &two, 2);
                            }
                            to += quad_bytes;
                        }
                    }
                }
                phase += quads * quad_bytes;
            }
        }
    }
}
