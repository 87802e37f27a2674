/* Gradient of a bias: accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent).
 *
 * The sum is exact in int32; then one float32 rounding for each operation. */
#include "bias_gradient.h"
#include "kt/architecture.h"
#include "../../product/halves.h"

#if !KT_DSP && !KT_VECTOR

enum { KT_LANE_POSITIONS = 256 }; /* 256 * 255 fits in the half of a word */

/* Sums of four neighbouring channels that lie in words: as bytes g + 128, two in the halves of a word. */
static void kt_four_lanes(const int8_t *g, int32_t channels, int32_t positions, int32_t sums[4])
{
    memset(sums, 0, 4 * sizeof *sums);
    while (positions > 0) {
        const int32_t count = kt_minimum(positions, KT_LANE_POSITIONS);
        const int8_t *const end = g + count * channels;
        uint32_t even = 0, odd = 0;
        for (; g != end; g += channels) {
            const uint32_t word = kt_aligned_word(g) ^ UINT32_C(0x80808080);
            even += word & UINT32_C(0x00FF00FF);
            odd += (word >> 8) & UINT32_C(0x00FF00FF);
        }
        sums[0] += (int32_t)(even & 0xFFFFU) - 128 * count;
        sums[1] += (int32_t)(odd & 0xFFFFU) - 128 * count;
        sums[2] += (int32_t)(even >> 16) - 128 * count;
        sums[3] += (int32_t)(odd >> 16) - 128 * count;
        positions -= count;
    }
}

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = params->channels, fours = kt_has_words(g) && (channels & 3) == 0 ? channels : 0;
    int32_t c, i;
    for (c = 0; c < fours; c += 4) {
        int32_t sums[4];
        kt_four_lanes(g + c, channels, params->positions, sums);
        for (i = 0; i < 4; i++) {
            accumulator[c + i] = kt_accumulate(accumulator[c + i], sums[i], scale);
        }
    }
    kt_bias_gradient_of(params, g, scale, accumulator, fours, channels);
}

#endif
