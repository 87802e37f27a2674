/* 3x3 depthwise weights with a merged delta: for each channel three kernel rows as the bytes {w1, w0, w2, w1}, then its requantisation, or 0. */
#include "merging.h"

void kt_merge_banded_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    int32_t c, row;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        int32_t sum = 0;
        for (row = 0; row < 9; row += 3) {
            const int32_t w0 = kt_merged_tap(params, channel, row), w1 = kt_merged_tap(params, channel, row + 1);
            const int32_t w2 = kt_merged_tap(params, channel, row + 2);
            const uint32_t low = (uint32_t)w1 & 0xFF;
            *stream++ = (int32_t)(low | ((uint32_t)w0 & 0xFF) << 8 | ((uint32_t)w2 & 0xFF) << 16 | low << 24);
            sum += w0 + w1 + w2;
        }
        if (fold != NULL) {
            fold[c] = params->offset * sum;
        }
        stream = kt_merged_epilogue(params, c, stream);
    }
}
