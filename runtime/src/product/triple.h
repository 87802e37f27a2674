/* triple.h: three sums in two words: the product of cores that multiply one pair of numbers at a time.
 *
 * The values x0, x1, x2 of three positions make two words, modulo 2^32:
 *
 *     x0 + 2^10 x1        x2 + 2^21 x1
 *
 * Multiplied by the same weights and summed up they are A + 2^10 B and C + 2^21 B: two multiplications for three products. The sums A, B, C
 * follow exactly where each is in [-2^20, 2^20), whatever overflows on the way; the compiler proves it from the weights, for as many values
 * of a window at a time as hold (a chunk).
 *
 * A panel holds six positions: {4 start words, then [chunk][4]}, words 0 and 1 of the first three positions, 2 and 3 of the others. Weights
 * are bytes w + 128, two channels side by side: cores have no short load of signed bytes. The sums start from -128 times those of the panel's
 * words, which takes the 128 away again. */
#ifndef KT_TRIPLE_H
#define KT_TRIPLE_H

#include "kt/architecture.h"
#include "halves.h"

enum { KT_POSITIONS = 6, KT_PANEL_WORDS = 4 };

/* The words of two channels, [2][4]. weights: [length][2]; length: a multiple of 4, positive. */
void kt_triple_sums(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length);

/* The words of two pairs of channels, [4][4], where a core has the registers. weights: of one pair, those of the other behind them. */
#if KT_ARMV7M || KT_ARMV6M
enum { KT_MOST_CHANNELS = 2 };
#else
enum { KT_MOST_CHANNELS = 4 };
void kt_triple_sums_of_four(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length);
#endif

/* The words of up to KT_MOST_CHANNELS channels, an even number. */
KT_INLINE void kt_triple_words(uint32_t *words, const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t channels)
{
#if KT_ARMV7M || KT_ARMV6M
    (void)channels;
#else
    if (channels > 2) {
        kt_triple_sums_of_four(words, panel, weights, length);
        return;
    }
#endif
    kt_triple_sums(words, panel, weights, length);
}

/* A panel of one chunk times all channels. end: of the panel; bias, epilogue [channels][3]: as in product.h; result: of the first position;
 * stride: bytes from one to the next; result_end: of the first position, an even number of channels behind. */
typedef struct {
    const uint32_t *panel;
    const uint32_t *end;
    const uint8_t *weights;
    const int32_t *bias;
    const int32_t *epilogue;
    int8_t *result;
    int32_t stride;
    const int8_t *result_end;
} kt_triple_product;

typedef void kt_triple_kernel(const kt_triple_product *product);

/* Results as kt_product_half_up and kt_product_away (product.h) give them. */
void kt_triple_half_up(const kt_triple_product *product);
void kt_triple_away(const kt_triple_product *product);

/* The same of sums that start from something else at each position: bias [channels][KT_POSITIONS], KT_START_UNIT times as large. */
enum { KT_START_BITS = KT_ARMV7M ? 8 : 0, KT_START_UNIT = 1 << KT_START_BITS };
void kt_triple_started_half_up(const kt_triple_product *product);
void kt_triple_started_away(const kt_triple_product *product);

/* The lowest 21 bits as a signed value. */
KT_INLINE int32_t kt_lowest_sum(uint32_t word)
{
    return (int32_t)(word << 11) >> 11;
}

/* A, B and C of two words. */
KT_INLINE void kt_three_sums(const uint32_t words[2], int32_t sums[3])
{
    const int32_t third = kt_lowest_sum(words[1]);
    const int32_t low = (int32_t)(words[1] - (uint32_t)third); /* 2^21 times the lowest 11 bits of B */
    const uint32_t rest = words[0] - (uint32_t)(low >> 11);    /* A + 2^21 times the others */
    const int32_t first = kt_lowest_sum(rest);
    sums[0] = first;
    sums[1] = ((int32_t)(rest - (uint32_t)first) >> 10) + (low >> 21);
    sums[2] = third;
}

/* The six sums of a channel. */
KT_INLINE void kt_six_sums(const uint32_t words[KT_PANEL_WORDS], int32_t sums[KT_POSITIONS])
{
    kt_three_sums(words, sums);
    kt_three_sums(words + 2, sums + 3);
}

/* What makes results of three sums of a channel: three digits of the multiplier, the lowest first, of 10, 10 and 11 bits; bytes from the first
 * result to the others. */
typedef struct {
    int32_t digits[3];
    int32_t bias, addend, shift;
    int32_t second, third;
    int32_t multiplier;
} kt_triple_scale;

KT_INLINE kt_triple_scale kt_triple_scale_of(int32_t bias, const int32_t *epilogue, int32_t second, int32_t third)
{
    const int32_t multiplier = epilogue[0];
    const kt_triple_scale scale = {
        {multiplier & 1023, (multiplier >> 10) & 1023, multiplier >> 20}, bias, epilogue[1], epilogue[2], second, third, multiplier};
    return scale;
}

KT_INLINE int8_t kt_triple_result(int32_t sum, const kt_triple_scale *scale, int32_t negative)
{
    sum += scale->bias;
    return kt_short_requantize(sum, scale->multiplier, scale->addend - (sum < 0 ? negative : 0), scale->shift);
}

/* The results of two words; negative: what a negative sum takes from the addend. */
KT_INLINE void kt_results_of_words(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale, int32_t negative)
{
    int32_t sums[3];
    kt_three_sums(words, sums);
    result[0] = kt_triple_result(sums[0], scale, negative);
    result[scale->second] = kt_triple_result(sums[1], scale, negative);
    result[scale->third] = kt_triple_result(sums[2], scale, negative);
}

#if KT_ARMV6M
/* The same for either way to round. */
void kt_triple_results_half_up(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale);
void kt_triple_results_away(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale);
#endif

KT_INLINE void kt_three_results(const uint32_t words[2], int8_t *result, const kt_triple_scale *scale, int32_t negative)
{
#if KT_ARMV6M
    if (negative != 0) {
        kt_triple_results_away(words, result, scale);
    } else {
        kt_triple_results_half_up(words, result, scale);
    }
#else
    kt_results_of_words(words, result, scale, negative);
#endif
}

/* The six results of a channel. */
KT_INLINE void kt_six_results(const uint32_t words[KT_PANEL_WORDS], int32_t bias, const int32_t *epilogue, int32_t negative, int8_t *result,
                              int32_t stride)
{
    const kt_triple_scale scale = kt_triple_scale_of(bias, epilogue, stride, 2 * stride);
    kt_three_results(words, result, &scale, negative);
    kt_three_results(words + 2, result + 3 * stride, &scale, negative);
}

/* kt_triple_scale of sums that start from something else each, in the place of the bias. */
typedef struct {
    int32_t digits[3];
    const int32_t *starts;
    int32_t addend, shift;
    int32_t second, third;
    int32_t multiplier;
} kt_started_scale;

KT_INLINE void kt_started_of_words(const uint32_t words[2], int8_t *result, const kt_started_scale *scale, int32_t negative)
{
    const int32_t multiplier = scale->multiplier, addend = scale->addend, shift = scale->shift;
    int32_t sums[3];
    kt_three_sums(words, sums);
    sums[0] += scale->starts[0];
    sums[1] += scale->starts[1];
    sums[2] += scale->starts[2];
    result[0] = kt_short_requantize(sums[0], multiplier, addend - ((sums[0] >> 31) & negative), shift);
    result[scale->second] = kt_short_requantize(sums[1], multiplier, addend - ((sums[1] >> 31) & negative), shift);
    result[scale->third] = kt_short_requantize(sums[2], multiplier, addend - ((sums[2] >> 31) & negative), shift);
}

#if KT_ARMV6M
/* The same for either way to round. */
void kt_triple_started_results_half_up(const uint32_t words[2], int8_t *result, const kt_started_scale *scale);
void kt_triple_started_results_away(const uint32_t words[2], int8_t *result, const kt_started_scale *scale);
#endif

KT_INLINE void kt_three_started(const uint32_t words[2], int8_t *result, const kt_started_scale *scale, int32_t negative)
{
#if KT_ARMV6M
    if (negative != 0) {
        kt_triple_started_results_away(words, result, scale);
    } else {
        kt_triple_started_results_half_up(words, result, scale);
    }
#else
    kt_started_of_words(words, result, scale, negative);
#endif
}

/* The six results of a channel whose sums start from something else each. */
KT_INLINE void kt_six_started(const uint32_t words[KT_PANEL_WORDS], const int32_t *starts, const int32_t *epilogue, int32_t negative, int8_t *result,
                              int32_t stride)
{
    const int32_t multiplier = epilogue[0];
    kt_started_scale scale = {
        {multiplier & 1023, (multiplier >> 10) & 1023, multiplier >> 20}, starts, epilogue[1], epilogue[2], stride, 2 * stride, multiplier};
    kt_three_started(words, result, &scale, negative);
    scale.starts += 3;
    kt_three_started(words + 2, result + 3 * stride, &scale, negative);
}

/* The product in C, around kt_triple_sums. */
KT_INLINE void kt_triple_results(const kt_triple_product *product, int32_t negative)
{
    const int32_t length = (int32_t)(product->end - product->panel) / KT_PANEL_WORDS - 1;
    const uint8_t *weights = product->weights;
    const int32_t *bias = product->bias;
    const int32_t *epilogue = product->epilogue;
    int8_t *result = product->result;
    for (; result != product->result_end; result += 2, weights += 2 * length, bias += 2, epilogue += 6) {
        uint32_t words[2 * KT_PANEL_WORDS];
        kt_triple_sums(words, product->panel, weights, length);
        kt_six_results(words, bias[0], epilogue, negative, result, product->stride);
        kt_six_results(words + KT_PANEL_WORDS, bias[1], epilogue + 3, negative, result + 1, product->stride);
    }
}

#endif
