/* 3x3 depthwise weights with a merged delta for the gradient to the input: for each channel the pairs (w0, w1) and (w1, w2) of each kernel row, taps
 * turned round. */
#include "merging.h"

void kt_merge_banded_gradient(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream)
{
    int32_t c, row;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        for (row = 6; row >= 0; row -= 3) {
            const int32_t w0 = kt_merged_tap(params, channel, row + 2), w1 = kt_merged_tap(params, channel, row + 1), w2 = kt_merged_tap(params, channel, row);
            *stream++ = kt_merged_halves(w0, w1);
            *stream++ = kt_merged_halves(w1, w2);
        }
    }
}
