/* packed_sums.h: from the sums of a block to its results, for packed layers with trained sums.
 *
 * Rounding twice, for a multiplier m that is 0 or in [2^26, 2^31) and a right shift n >= 1, is
 *
 *     ((2 x * m + 2^31 >> 32) + 2^(n-1) - (x < 0 ? 1 : 0)) >> n
 *
 * of which one SMMLAR computes all but the sign: kt_requantize_right asks for the sign of the high part, which is that of x or 0, and
 * where it is 0 one less in front of the shift makes no difference. Both positions of a panel share what is read for a channel. */
#ifndef KT_DSP_PACKED_SUMS_H
#define KT_DSP_PACKED_SUMS_H

#include "kt/kernels/packed_convolution.h"
#include "../packed_trained_walk.h"
#include "../../dsp/simd.h"

/* A total may be limited to +-2^30, whose double is an int32, where that is beyond the clamp: with a multiplier of 2^26 or more (2^30 under the
 * smallest gain), 2^25 after the product, 2^9 after this shift. */
enum { KT_LARGEST_SHIFT = 16 };

enum { KT_LONGEST_ROW = 1 << 15 }; /* of a delta: products of codes and values whose doubled sum is an int32 */

/* kt_scaled_addend of a delta's product, shifted `down` bits; in_word: whether its double is an int32. */
KT_INLINE int32_t kt_delta_addend(int32_t product, int32_t multiplier, int32_t down, int in_word)
{
    const int32_t twice = (int32_t)(2 * (uint32_t)product);
    if ((uint32_t)(down - 1) < 31 && in_word) {
        return (kt_add_high_product(twice, multiplier, (int32_t)(UINT32_C(1) << (down - 1))) + (twice >> 31)) >> down;
    }
    return kt_scaled_addend(product, multiplier, -down);
}

/* Sums to totals, one channel after the other. */
static inline void kt_add_bias(const kt_trained_sums *trained, const kt_sums_block *block)
{
    int32_t i, c;
    for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
        int32_t *const sums = block->sums + i * block->stride;
        for (c = 0; c < block->count; c++) {
            sums[c] = kt_total_of(trained, sums[c], block->position[i], block->first + c);
        }
    }
}

static __attribute__((noinline, cold)) int8_t kt_any_result(const kt_trained_sums *trained, int32_t total, int32_t c)
{
    return kt_result_of_total(trained, total, c);
}

/* Totals to results. The offset is added in front of the shift, where it stays exact. */
static __attribute__((noinline)) void kt_requantize_block(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t *multipliers = params->multiplier + block->first;
    const int8_t *shifts = params->shift + block->first;
    const int8_t *const end = shifts + block->count;
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t low = params->clamp[0], high = params->clamp[1], twice_offset = 2 * params->output_offset + 1;
    const int narrow = low > -128 || high < 127;
    const int32_t *total = block->sums, *other = total + block->stride;
    int8_t *y0 = y + block->position[0] * channels + block->first, *y1 = y + block->position[1] * channels + block->first;
    while (shifts != end) {
        const int32_t multiplier = *multipliers++, total0 = *total++, total1 = *other++;
        const int32_t down = -*shifts++;
        int32_t result0, result1;
        if ((uint32_t)(down - 1) < KT_LARGEST_SHIFT) {
            const int32_t added = (int32_t)((uint32_t)twice_offset << (down - 1)); /* offset * 2^n + 2^(n-1) */
            const int32_t twice0 = __qadd(total0, total0), twice1 = __qadd(total1, total1);
            result0 = __ssat((kt_add_high_product(twice0, multiplier, added) + (twice0 >> 31)) >> down, 8);
            result1 = __ssat((kt_add_high_product(twice1, multiplier, added) + (twice1 >> 31)) >> down, 8);
            if (narrow) {
                result0 = kt_clamp(result0, low, high);
                result1 = kt_clamp(result1, low, high);
                __asm__(""); /* or gcc computes a part of both clamps in front of the branch */
            }
        } else {
            result0 = kt_any_result(trained, total0, (int32_t)(shifts - 1 - params->shift));
            result1 = kt_any_result(trained, total1, (int32_t)(shifts - 1 - params->shift));
        }
        *y0++ = (int8_t)result0;
        *y1++ = (int8_t)result1;
    }
}

#endif
