/* Depthwise weights with a merged delta, four channels at a time: for each tap those of the first and third one, and of the second and fourth;
 * then their requantisation. Where they are no multiple of four the last four come at the end, some of them again. */
#include "merging.h"

void kt_merge_packed_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t size = kt_merging_size(params);
    int32_t c, i, tap;
    for (c = 0; c < params->channels; c += 4) {
        const int32_t first = c + 4 <= params->channels ? c : params->channels - 4;
        kt_merged_channel channel[4];
        int32_t sums[4] = {0, 0, 0, 0};
        for (i = 0; i < 4; i++) {
            channel[i] = kt_merged_channel_of(params, delta, exponent, first + i);
        }
        for (tap = 0; tap < size; tap++) {
            int32_t w[4];
            for (i = 0; i < 4; i++) {
                w[i] = kt_merged_tap(params, channel[i], tap);
                sums[i] += w[i];
            }
            *stream++ = kt_merged_halves(w[0], w[2]);
            *stream++ = kt_merged_halves(w[1], w[3]);
        }
        for (i = 0; i < 4; i++) {
            fold[first + i] = params->offset * sums[i];
            stream = kt_merged_epilogue(params, first + i, stream);
        }
    }
}
