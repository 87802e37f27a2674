/* triple.h: the products of ../triple.h in vectors: two positions and four channels at a time, neighbouring values in the lanes.
 *
 * Their sums are those that the words of ../triple.h stand for. */
#ifndef KT_VECTOR_TRIPLE_H
#define KT_VECTOR_TRIPLE_H

#include "../triple.h"
#include "channels.h"

enum { KT_TOGETHER = 2 /* positions, whose sums of four channels stay in registers */, KT_FOUR_CHANNELS = 4 };

/* Values of two channels as bytes w + 128 side by side, as weights of each. */
KT_INLINE void kt_add_two_channels(kt_lanes bytes, const kt_lanes values[KT_TOGETHER], kt_lanes sums[KT_TOGETHER][KT_FOUR_CHANNELS], int32_t c)
{
    const kt_lanes first = kt_first_exact(bytes), second = (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)bytes ^ 0x8000) >> 8);
    int32_t p;
    for (p = 0; p < KT_TOGETHER; p++) {
        sums[p][c] = kt_add_pair_products(sums[p][c], first, values[p]);
        sums[p][c + 1] = kt_add_pair_products(sums[p][c + 1], second, values[p]);
    }
}

/* The sums of `channels`, 2 or 4, at the positions whose rows begin here. weights: [channels / 2][length][2]; sums: of no more channels are 0. */
KT_INLINE void kt_sums_together(const int16_t *rows, const uint8_t *weights, int32_t length, int32_t channels, kt_four_lanes result[KT_TOGETHER])
{
    const kt_lanes none = kt_no_lanes();
    kt_lanes sums[KT_TOGETHER][KT_FOUR_CHANNELS];
    kt_lanes values[KT_TOGETHER];
    int32_t i, p, c;
    for (p = 0; p < KT_TOGETHER; p++) {
        for (c = 0; c < KT_FOUR_CHANNELS; c++) {
            sums[p][c] = none;
        }
    }
    for (i = 0; i + KT_CHANNEL_LANES <= length; i += KT_CHANNEL_LANES) {
        for (p = 0; p < KT_TOGETHER; p++) {
            values[p] = kt_load_lanes(rows + p * length + i);
        }
        kt_add_two_channels(kt_load_lanes(weights + 2 * i), values, sums, 0);
        if (channels > 2) {
            kt_add_two_channels(kt_load_lanes(weights + 2 * length + 2 * i), values, sums, 2);
        }
    }
    if (i < length) {
        const int32_t words = (length - i) / 2; /* an even number: the length is a multiple of 4 */
        for (p = 0; p < KT_TOGETHER; p++) {
            values[p] = kt_load_some(rows + p * length + i, words);
        }
        kt_add_two_channels(kt_load_some(weights + 2 * i, words), values, sums, 0);
        if (channels > 2) {
            kt_add_two_channels(kt_load_some(weights + 2 * length + 2 * i, words), values, sums, 2);
        }
    }
    for (p = 0; p < KT_TOGETHER; p++) {
        result[p] = kt_added_up(sums[p][0], sums[p][1], sums[p][2], sums[p][3]);
    }
}

/* The results of four channels at the positions of a panel. starts: [channels][KT_POSITIONS] where of_each, else [channels]. */
KT_INLINE void kt_four_channels(const kt_triple_product *product, int32_t length, int of_each, int32_t negative)
{
    const kt_epilogues epilogues = kt_epilogues_of(product->epilogue);
    const int16_t *const rows = (const int16_t *)(const void *)product->panel;
    const int32_t *const bias = product->bias;
    int32_t first, p;
    for (first = 0; first < KT_POSITIONS; first += KT_TOGETHER) {
        kt_four_lanes sums[KT_TOGETHER];
        kt_sums_together(rows + first * length, product->weights, length, KT_FOUR_CHANNELS, sums);
        for (p = 0; p < KT_TOGETHER; p++) {
            const int32_t *const own = bias + first + p;
            const kt_four_lanes start =
                of_each ? kt_four(own[0], own[KT_POSITIONS], own[2 * KT_POSITIONS], own[3 * KT_POSITIONS]) : kt_load_four(bias);
            kt_store_bytes(product->result + (first + p) * product->stride, kt_four_results(kt_add_four(sums[p], start), &epilogues, negative));
        }
    }
}

/* All channels; returns what is left, less than four. */
KT_INLINE kt_triple_product kt_vector_channels(kt_triple_product product, int of_each, int32_t negative)
{
    const int32_t length = (int32_t)(product.end - product.panel) / KT_PANEL_WORDS - 1;
    while (product.result_end - product.result >= KT_FOUR_CHANNELS) {
        kt_four_channels(&product, length, of_each, negative);
        product.weights += KT_FOUR_CHANNELS * length;
        product.bias += KT_FOUR_CHANNELS * (of_each ? KT_POSITIONS : 1);
        product.epilogue += 3 * KT_FOUR_CHANNELS;
        product.result += KT_FOUR_CHANNELS;
    }
    return product;
}

#endif
