/* 3x3 depthwise weights with a merged delta: for each channel three kernel rows as the bytes {w1, w0, w2, w1}, then its requantisation, or 0. */
#include "merging.h"

#if KT_DSP
#include "dsp/merged_quad.h"
#endif

enum { KT_BAND_WORDS = 6 }; /* of a channel */

#if KT_DSP
/* The rows of four channels, each row a transposition of four bytes by four; and the sums of their weights. */
static inline void quad_rows(const kt_merged_quad *quad, int32_t *stream, int32_t *sums)
{
    uint32_t sums_even = 0, sums_odd = 0;
    int32_t row;
    for (row = 0; row < 3; row++) {
        const uint32_t w0 = kt_merged_taps(quad, 3 * row), w1 = kt_merged_taps(quad, 3 * row + 1), w2 = kt_merged_taps(quad, 3 * row + 2);
        const uint32_t even = (w1 & 0x00FF00FF) | (w0 & 0x00FF00FF) << 8, even_behind = (w2 & 0x00FF00FF) | (w1 & 0x00FF00FF) << 8;
        const uint32_t odd = (w1 >> 8 & 0x00FF00FF) | (w0 & UINT32_C(0xFF00FF00)), odd_behind = (w2 >> 8 & 0x00FF00FF) | (w1 & UINT32_C(0xFF00FF00));
        stream[row] = (int32_t)kt_low_halves(even, even_behind);
        stream[KT_BAND_WORDS + row] = (int32_t)kt_low_halves(odd, odd_behind);
        stream[2 * KT_BAND_WORDS + row] = (int32_t)kt_high_halves(even, even_behind);
        stream[3 * KT_BAND_WORDS + row] = (int32_t)kt_high_halves(odd, odd_behind);
        sums_even = kt_add_even(kt_add_even(kt_add_even(sums_even, w0), w1), w2);
        sums_odd = kt_add_odd(kt_add_odd(kt_add_odd(sums_odd, w0), w1), w2);
    }
    kt_merged_quad_sums(sums_even, sums_odd, sums);
}
#endif

/* The rows of a channel; returns the sum of its weights. */
static inline int32_t channel_rows(const kt_merging_params *params, kt_merged_channel channel, int32_t *stream)
{
    int32_t sum = 0, row;
    for (row = 0; row < 3; row++) {
        const int32_t w0 = kt_merged_tap(params, channel, 3 * row), w1 = kt_merged_tap(params, channel, 3 * row + 1);
        const int32_t w2 = kt_merged_tap(params, channel, 3 * row + 2);
        const uint32_t low = (uint32_t)w1 & 0xFF;
        stream[row] = (int32_t)(low | ((uint32_t)w0 & 0xFF) << 8 | ((uint32_t)w2 & 0xFF) << 16 | low << 24);
        sum += w0 + w1 + w2;
    }
    return sum;
}

void kt_merge_banded_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    int32_t c = 0, count, i;
    for (; c < params->channels; c += count) {
        int32_t sums[4];
        count = 1;
#if KT_DSP
        {
            kt_merged_quad quad;
            if (c + 4 <= params->channels && kt_merged_quad_of(params, delta, exponent, c, &quad)) {
                quad_rows(&quad, stream, sums);
                count = 4;
            }
        }
        if (count == 1)
#endif
        {
            sums[0] = channel_rows(params, kt_merged_channel_of(params, delta, exponent, c), stream);
        }
        for (i = 0; i < count; i++) {
            if (fold != NULL) {
                fold[c + i] = params->offset * sums[i];
            }
            stream = kt_merged_epilogue(params, c + i, stream + 3);
        }
    }
}
