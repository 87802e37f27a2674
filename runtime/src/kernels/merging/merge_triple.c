/* Weights with a merged delta as bytes, greater by 128, of two channels side by side: for each chunk, and in it each two channels, its values
 * (kt/kernels/triple_convolution.h). */
#include "merging.h"

/* `count` values of one channel of two from `at` on, and what rounds them up to `whole`; returns their sum. */
static inline int32_t values(const kt_merged_channel *channel, int32_t at, int32_t count, int32_t whole, uint8_t *to)
{
    const int8_t *w = channel->w + at, *v = channel->v + at;
    const uint8_t *end = to + 2 * count;
    const int32_t factor = channel->factor, lowest = channel->lowest;
    int32_t sum = 0;
    for (; to != end; to += 2) {
        const int32_t value = kt_merged_value(*w++, *v++, factor, lowest);
        *to = (uint8_t)(value + 128);
        sum += value;
    }
    for (end += 2 * (whole - count); to != end; to += 2) {
        *to = 128;
    }
    return sum;
}

void kt_merge_triple(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t size = kt_merging_size(params);
    const int32_t length = (size + 3) & ~3;
    const int32_t even = (params->channels + 1) & ~1;
    int32_t c, first;
    for (c = 0; c < ((params->channels + 3) & ~3); c++) {
        const int present = c < params->channels;
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, present ? c : 0);
        int32_t sum = 0;
        for (first = 0; first < length && c < even; first += params->chunk) {
            const int32_t count = length - first < params->chunk ? length - first : params->chunk;
            const int32_t held = size - first < count ? size - first : count;
            sum += values(&channel, first, present ? held : 0, count, (uint8_t *)stream + even * first + (c & ~1) * count + (c & 1));
        }
        if (fold != NULL) {
            fold[c] = params->offset * sum;
        }
    }
    stream += even * length / 4;
    for (c = 0; c < ((params->channels + 3) & ~3) && params->epilogue != NULL; c++) {
        stream = kt_merged_epilogue(params, c, stream);
    }
}
