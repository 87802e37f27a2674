/* Weights with a merged delta as the product of pairs reads them (runtime/src/product/product.h): a word holds the weights of two channels a and b
 * for two values, as b * 256 + a in each half. */
#include "merging.h"

#include <string.h>

/* One weight into its half; that of the second channel joins the first one's. */
static inline int32_t put(const kt_merged_channel *channel, int32_t at, int second, uint8_t *to)
{
    const int32_t value = kt_merged(channel, at);
    int32_t half = value;
    uint16_t held;
    if (second) {
        memcpy(&held, to, 2);
        half = value * 256 + held;
    }
    held = (uint16_t)half;
    memcpy(to, &held, 2);
    return value;
}

/* All weights of a channel, whose words lie two apart; returns their sum. Four values take two words, the first and third one, the second and
 * fourth the other; of three that are left the third lies beside the first, of two the second. */
static inline int32_t one_channel(const kt_merged_channel *channel, int32_t runs, int32_t run, int second, uint8_t *to)
{
    int32_t at = 0, sum = 0;
    while (runs-- > 0) {
        const int32_t whole = at + (run & ~3);
        const int32_t left = run & 3;
        for (; at < whole; at += 4) {
            sum += put(channel, at, second, to);
            sum += put(channel, at + 1, second, to + 8);
            sum += put(channel, at + 2, second, to + 2);
            sum += put(channel, at + 3, second, to + 10);
            to += 16;
        }
        if (left > 0) {
            sum += put(channel, at, second, to);
        }
        if (left > 1) {
            sum += put(channel, at + 1, second, left == 2 ? to + 2 : to + 8);
        }
        if (left > 2) {
            sum += put(channel, at + 2, second, to + 2);
        }
        at += left;
        to += left == 3 ? 16 : left > 0 ? 8 : 0;
    }
    return sum;
}

void kt_merge_packed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t runs = params->dilated ? params->kernel[0] * params->kernel[1] : params->kernel[0];
    const int32_t run = params->dilated ? params->depth : params->kernel[1] * params->depth;
    const int32_t pairs = runs * ((run >> 2) * 2 + ((run & 3) + 1) / 2);
    const int incomplete = (run & 1) != 0 || (params->channels & 3) != 0; /* some halves are 0 */
    int32_t c, i;
    for (c = 0; c < params->channels; c += 4) {
        if (incomplete) {
            memset(stream, 0, (size_t)pairs * 8);
        }
        for (i = 0; i < 4; i++) {
            int32_t sum = 0;
            if (c + i < params->channels) {
                const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c + i);
                uint8_t *const to = (uint8_t *)(stream + i / 2);
                sum = i % 2 == 0 ? one_channel(&channel, runs, run, 0, to) : one_channel(&channel, runs, run, 1, to);
            }
            fold[c + i] = params->offset * sum;
        }
        stream += 2 * pairs;
        for (i = 0; i < 4 && params->epilogue != NULL; i++) {
            stream = kt_merged_epilogue(params, c + i, stream);
        }
    }
}
