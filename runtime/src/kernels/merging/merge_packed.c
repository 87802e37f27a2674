/* Weights with a merged delta as the product of pairs reads them (runtime/src/product/product.h): a word holds the weights of two channels a and b
 * for two values, as b * 256 + a in each half, and 128 more where a weight is -128. */
#include "merging.h"

/* b * 256 + a in each half, with `added` of both. */
static inline int32_t both(int32_t a, int32_t b, uint32_t added)
{
    const uint32_t word = (uint32_t)kt_merged_both(a, b), top = UINT32_C(0x80008000);
    return (int32_t)(((word & ~top) + added) ^ (word & top)); /* no half carries into the other */
}

/* What is left of a run, of so many values: the first beside the third, or of two beside the second; then the second of three. */
static inline kt_merged_quad rest(kt_merged_channel channel, int32_t at, int32_t left)
{
    const int32_t first = kt_merged(channel, at);
    const int32_t last = left > 1 ? kt_merged(channel, at + left - 1) : 0;
    kt_merged_quad found;
    found.even = kt_merged_halves(first, last);
    found.odd = left == 3 ? kt_merged_halves(kt_merged(channel, at + 1), 0) : 0;
    return found;
}

/* The words of two channels, two words apart; fold: of both. Where the second is none, its weights are 0. */
static inline void two_channels(const kt_merging_params *params, kt_merged_channel a, kt_merged_channel b, int present, uint32_t added, int32_t *to,
                                int32_t *fold)
{
    const int32_t runs = params->dilated ? params->kernel[0] * params->kernel[1] : params->kernel[0];
    const int32_t run = params->dilated ? params->depth : params->kernel[1] * params->depth;
    const int32_t left = run & 3;
    int32_t sum_a = 0, sum_b = 0, at = 0, r;
    for (r = 0; r < runs; r++) {
        const int32_t whole = at + run - left;
        for (; at < whole; at += 4) {
            const kt_merged_quad of_a = kt_merged_four(a, at);
            kt_merged_quad of_b = {0, 0};
            if (present) {
                of_b = kt_merged_four(b, at);
            }
            to[0] = both(of_a.even, of_b.even, added);
            to[2] = both(of_a.odd, of_b.odd, added);
            to += 4;
            sum_a = kt_merged_added(kt_merged_added(sum_a, of_a.even), of_a.odd);
            sum_b = kt_merged_added(kt_merged_added(sum_b, of_b.even), of_b.odd);
        }
        if (left > 0) {
            const kt_merged_quad of_a = rest(a, at, left);
            kt_merged_quad of_b = {0, 0};
            if (present) {
                of_b = rest(b, at, left);
            }
            to[0] = both(of_a.even, of_b.even, added);
            if (left == 3) {
                to[2] = both(of_a.odd, of_b.odd, added);
            }
            to += left == 3 ? 4 : 2;
            at += left;
            sum_a = kt_merged_added(kt_merged_added(sum_a, of_a.even), of_a.odd);
            sum_b = kt_merged_added(kt_merged_added(sum_b, of_b.even), of_b.odd);
        }
    }
    fold[0] = params->offset * sum_a;
    fold[1] = params->offset * sum_b;
}

void kt_merge_packed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t runs = params->dilated ? params->kernel[0] * params->kernel[1] : params->kernel[0];
    const int32_t run = params->dilated ? params->depth : params->kernel[1] * params->depth;
    const int32_t pairs = runs * ((run >> 2) * 2 + ((run & 3) + 1) / 2);
    const uint32_t added = params->exact ? UINT32_C(0x00800080) : 0;
    int32_t c, i;
    for (c = 0; c < params->channels; c += 4) {
        for (i = 0; i < 4; i += 2) {
            if (c + i + 1 < params->channels) {
                two_channels(params, kt_merged_channel_of(params, delta, exponent, c + i), kt_merged_channel_of(params, delta, exponent, c + i + 1),
                             1, added, stream + i / 2, fold + c + i);
            } else if (c + i < params->channels) {
                const kt_merged_channel last = kt_merged_channel_of(params, delta, exponent, c + i);
                two_channels(params, last, last, 0, added, stream + i / 2, fold + c + i);
            } else {
                int32_t at;
                for (at = i / 2; at < 2 * pairs; at += 2) {
                    stream[at] = (int32_t)added;
                }
                fold[c + i] = 0;
                fold[c + i + 1] = 0;
            }
        }
        stream += 2 * pairs;
        for (i = 0; i < 4 && params->epilogue != NULL; i++) {
            stream = kt_merged_epilogue(params, c + i, stream);
        }
    }
}
