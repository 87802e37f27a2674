/* Weights with a merged delta by input channel: [input channel][kernel row][kernel column][output channel]. */
#include "merging.h"

void kt_merge_transposed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *transposed)
{
    const int32_t taps = params->kernel[0] * params->kernel[1];
    int32_t c, tap, i;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        for (tap = 0; tap < taps; tap++) {
            for (i = 0; i < params->depth; i++) {
                transposed[(i * taps + tap) * params->channels + c] = (int8_t)kt_merged(channel, tap * params->depth + i);
            }
        }
    }
}
