/* Depthwise weights with a merged delta as bytes: for each channel its kernel columns in whole words, then its requantisation. */
#include "merging.h"

void kt_merge_triple_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t size = kt_merging_size(params);
    const int32_t whole = (size + 3) & ~3;
    int32_t c, x, y;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        int8_t *to = (int8_t *)stream;
        int32_t sum = 0;
        for (x = 0; x < params->kernel[1]; x++) {
            for (y = 0; y < params->kernel[0]; y++) {
                const int32_t value = kt_merged_tap(params, channel, y * params->kernel[1] + x);
                *to++ = (int8_t)value;
                sum += value;
            }
        }
        for (x = size; x < whole; x++) {
            *to++ = 0;
        }
        fold[c] = params->offset * sum;
        stream = kt_merged_epilogue(params, c, stream + whole / 4);
    }
}
