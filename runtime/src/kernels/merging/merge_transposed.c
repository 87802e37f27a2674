/* Weights with a merged delta in the layer's own order, and by input channel: [input channel][kernel row][kernel column][output channel]. */
#include "merge_rows.h"

void kt_merge_transposed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights, int8_t *transposed)
{
    const int32_t size = kt_merging_size(params), taps = params->kernel[0] * params->kernel[1];
    int32_t tap, i, c;
    kt_merge_rows(params, delta, exponent, weights, NULL);
    for (i = 0; i < params->depth; i++) {
        for (tap = 0; tap < taps; tap++) {
            const int8_t *from = weights + tap * params->depth + i;
            for (c = 0; c < params->channels; c++) {
                *transposed++ = *from;
                from += size;
            }
        }
    }
}
