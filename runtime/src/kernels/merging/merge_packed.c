/* Weights with a merged delta as the product of pairs reads them (runtime/src/product/product.h): a word holds the weights of two channels a and b
 * for two values, as b * 256 + a in each half, and 128 more where a weight is -128. */
#include "merging.h"

#include <string.h>

/* The word of two values of channels a and b; added: to each half. */
static inline int32_t word_of(const int8_t *a, const int8_t *b, int32_t first, int32_t second, int32_t added)
{
    return kt_merged_halves(b[first] * 256 + a[first] + added, b[second] * 256 + a[second] + added);
}

/* The two words of four values of two channels. With exact, 128 more in every half let its lower byte lend nothing to the upper one. */
static inline void put_four(const int8_t *a, const int8_t *b, int exact, int32_t *to)
{
#if KT_DSP
    const uint32_t of_a = kt_load_word(a), of_b = kt_load_word(b);
    const uint32_t even = of_b << 8 & UINT32_C(0xFF00FF00), odd = of_b & UINT32_C(0xFF00FF00), turned = of_a ^ UINT32_C(0x80808080);
    to[0] = (int32_t)(exact ? (turned & 0x00FF00FF) | even : kt_add_halves(even, kt_even(of_a)));
    to[2] = (int32_t)(exact ? (turned >> 8 & 0x00FF00FF) | odd : kt_add_halves(odd, kt_odd(of_a)));
#else
    to[0] = word_of(a, b, 0, 2, exact ? 128 : 0);
    to[2] = word_of(a, b, 1, 3, exact ? 128 : 0);
#endif
}

/* Those of `count` values, a multiple of four; returns `to` behind them. */
static inline int32_t *put_fours(const int8_t *a, const int8_t *b, int32_t count, int exact, int32_t *to)
{
    for (; count > 0; count -= 4) {
        put_four(a, b, exact, to);
        a += 4;
        b += 4;
        to += 4;
    }
    return to;
}

/* What is left of a run, one to three values: the first beside the third, or of two beside the second; then the second of three. Returns `to` behind
 * them. Values behind the last are 0. */
static inline int32_t *put_rest(const int8_t *a, const int8_t *b, int32_t left, int32_t added, int32_t *to)
{
    to[0] = word_of(a, b, 0, left == 3 ? 2 : 1, added);
    if (left == 3) {
        to[2] = word_of(a, b, 1, 3, added);
        return to + 4;
    }
    return to + 2;
}

/* The words of two channels, two words apart; fold: of both. b: NULL where there is none, whose weights are 0. */
static inline void two_channels(const kt_merging_params *params, const kt_merged_channel *a, const kt_merged_channel *b, int32_t *to, int32_t *fold)
{
    const int32_t size = kt_merging_size(params);
    const int32_t line = params->dilated ? params->depth : params->kernel[1] * params->depth;
    const int32_t run = (line & 3) == 0 ? size : line; /* lines of whole fours are one run */
    int8_t block[2][KT_MERGED_BLOCK];
    int32_t at, count, whole, left = run;
    fold[0] = 0;
    fold[1] = 0;
    if (b == NULL) {
        memset(block[1], 0, KT_MERGED_BLOCK);
    }
    for (at = 0; at < size; at += count) {
        count = left < KT_MERGED_BLOCK ? left : KT_MERGED_BLOCK;
        fold[0] += kt_merged_run(a, at, count, block[0]);
        if (b != NULL) {
            fold[1] += kt_merged_run(b, at, count, block[1]);
        }
        whole = count & ~3;
        to = params->exact ? put_fours(block[0], block[1], whole, 1, to) : put_fours(block[0], block[1], whole, 0, to);
        if (whole < count) {
            memset(block[0] + count, 0, (size_t)(whole + 4 - count));
            memset(block[1] + count, 0, (size_t)(whole + 4 - count));
            to = put_rest(block[0] + whole, block[1] + whole, count - whole, params->exact ? 128 : 0, to);
        }
        left = left == count ? run : left - count;
    }
    fold[0] *= params->offset;
    fold[1] *= params->offset;
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
            if (c + i < params->channels) {
                const int paired = c + i + 1 < params->channels;
                const kt_merged_channel a = kt_merged_channel_of(params, delta, exponent, c + i);
                const kt_merged_channel b = kt_merged_channel_of(params, delta, exponent, c + i + paired);
                two_channels(params, &a, paired ? &b : NULL, stream + i / 2, fold + c + i);
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
