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

static inline void put(uint8_t *to, uint32_t half)
{
    const uint16_t held = (uint16_t)half;
    memcpy(to, &held, 2);
}

/* A tap of one output channel: two words a quad of input channels, in each a half. A byte with 128 more has its sign turned, and lends nothing to
 * the one above. */
static inline void one_tap(const kt_merged_channel *channel, int32_t at, int32_t depth, uint8_t *to, int32_t quad_bytes)
{
    uint32_t block[KT_MERGED_BLOCK / 4];
    int32_t first, i;
    for (first = 0; first < depth; first += KT_MERGED_BLOCK) {
        const int32_t count = depth - first < KT_MERGED_BLOCK ? depth - first : KT_MERGED_BLOCK;
        block[(count - 1) / 4] = 0;
        (void)kt_merged_run(channel, at + first, count, (int8_t *)block);
        for (i = 0; i < count; i += 4) {
            const uint32_t halves = block[i / 4] ^ NOTHING;
            put(to, halves);
            if (i + 2 < count) {
                put(to + 4, halves >> 16);
            }
            to += quad_bytes;
        }
    }
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
                        one_tap(&channel, at, depth, to, quad_bytes);
                    }
                }
                phase += quads * quad_bytes;
            }
        }
    }
}
